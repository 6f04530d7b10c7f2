import type { Command } from "commander";
import type { LogLine } from "../../../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { MultinodeClient } from "../../client/client.js";
import type { CommandContext } from "../context.js";
import { followLogs, type LogTarget } from "../follow_logs.js";
import type { Io } from "../io.js";
import { logLineJson, logLineText } from "../output/log_line.js";
import { paintFor } from "../output/paint.js";
import { writeJsonLine, writeLines } from "../output/write.js";
import {
  executionIdOption,
  functionNameOption,
  invocationIdOption,
  jsonOption,
  projectNameOption,
} from "../parameters.js";

interface LogsOptions {
  projectName?: string;
  functionName?: string;
  invocationId: string;
  executionId?: string;
  follow?: boolean;
  json?: boolean;
}

const PAGE_SIZE = 1_000;

export function registerLogs(program: Command, context: CommandContext): void {
  program
    .command("logs")
    .description("show what an invocation printed")
    .addOption(projectNameOption())
    .addOption(functionNameOption())
    .addOption(invocationIdOption().makeOptionMandatory())
    .addOption(executionIdOption())
    .option("--follow", "go on with each new line, until the invocation is terminated")
    .addOption(jsonOption("write a JSON object in a line for each line of the log"))
    .action((options: LogsOptions) => logs(context, options));
}

async function logs({ io, connect }: CommandContext, options: LogsOptions): Promise<void> {
  const { projectName = "", functionName = "", invocationId, executionId = "" } = options;
  const target: LogTarget = { projectName, functionName, invocationId, executionId };
  await using client = await connect();
  // Also refuses an invocation that is not there before anything is written.
  const { executions } = await client.get(invocationId, { projectName, functionName, versionId: "" }, io.signal);
  const write = lineWriter(io, {
    json: options.json === true,
    withExecution: executionId === "" && executions.length > 1,
  });
  if (options.follow === true) {
    await followLogs(client.logs, target, { write, note: (text) => io.stderr.write(`${text}\n`), signal: io.signal });
  } else {
    await listLogs(client, target, write, io.signal);
  }
}

/** Names the execution in each line as soon as there are several of them. */
function lineWriter(
  io: Io,
  { json, withExecution }: { json: boolean; withExecution: boolean },
): (line: LogLine) => void {
  const paint = paintFor(io.stdout, io.env);
  let first: string | undefined;
  let several = withExecution;
  return (line) => {
    if (json) return writeJsonLine(io, logLineJson(line));
    first ??= line.executionId;
    several ||= line.executionId !== first;
    writeLines(io, [logLineText(line, paint, { withExecution: several })]);
  };
}

async function listLogs(
  client: MultinodeClient,
  target: LogTarget,
  write: (line: LogLine) => void,
  signal: AbortSignal,
): Promise<void> {
  let offset = "";
  do {
    const page = await client.logs.listLogs({ ...target, pageSize: PAGE_SIZE, offset }, { signal });
    for (const line of page.lines) write(line);
    offset = page.nextOffset;
  } while (offset !== "");
}

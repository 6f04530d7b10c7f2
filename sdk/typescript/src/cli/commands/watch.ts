import type { Command } from "commander";
import type { CommandContext } from "../context.js";
import { functionNameOption, invocationIdOption, jsonOption, projectNameOption } from "../parameters.js";
import { watchInvocation } from "../watch_invocation.js";

interface WatchOptions {
  invocationId: string;
  projectName?: string;
  functionName?: string;
  untilTerminated?: boolean;
  json?: boolean;
}

export function registerWatch(program: Command, context: CommandContext): void {
  program
    .command("watch")
    .description("follow an invocation to its end; exit status 1 unless it succeeds")
    .addOption(invocationIdOption().makeOptionMandatory())
    .addOption(projectNameOption())
    .addOption(functionNameOption())
    .option("--until-terminated", "go on until it holds no worker any more")
    .addOption(jsonOption("write a JSON object in a line for each change"))
    .action((options: WatchOptions) => watch(context, options));
}

async function watch({ io, connect }: CommandContext, options: WatchOptions): Promise<void> {
  const { invocationId, projectName, functionName } = options;
  await using client = await connect();
  // Also because a server that is not there is said at once, which a watch would wait for.
  const check = { projectName: projectName ?? "", functionName: functionName ?? "", versionId: "" };
  await client.get(invocationId, check, io.signal);
  const until = options.untilTerminated === true ? "terminated" : "finished";
  await watchInvocation(io, client, invocationId, { json: options.json === true, until });
}

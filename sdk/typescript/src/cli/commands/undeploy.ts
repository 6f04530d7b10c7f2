import { setTimeout as wait } from "node:timers/promises";
import type { Command } from "commander";
import type { MultinodeClient } from "../../client/client.js";
import { ProjectDoesNotExist } from "../../errors.js";
import { LIMITS } from "../../protocol/limits.js";
import type { CommandContext } from "../context.js";
import type { Io } from "../io.js";
import { count } from "../output/format.js";
import { LiveLine } from "../output/live_line.js";
import { writeJson, writeLines } from "../output/write.js";
import { jsonOption, projectNameOption } from "../parameters.js";

interface UndeployOptions {
  projectName: string;
  /** commander sets it to false for --no-wait. */
  wait: boolean;
  json?: boolean;
}

/** The registry has no stream of projects to wait on. */
const POLL_MS = 500;

export function registerUndeploy(program: Command, context: CommandContext): void {
  program
    .command("undeploy")
    .description("cancel all that is in flight in a project, then remove it")
    .addOption(projectNameOption().makeOptionMandatory())
    .option("--no-wait", "do not wait until it is gone")
    .addOption(jsonOption())
    .action((options: UndeployOptions) => undeploy(context, options));
}

async function undeploy({ io, connect }: CommandContext, options: UndeployOptions): Promise<void> {
  const { projectName, json } = options;
  await using client = await connect();
  await client.registry.deleteProject({ projectName }, { signal: io.signal });
  if (options.wait) await waitUntilGone(io, client, options);
  const state = options.wait ? "deleted" : "deleting";
  if (json === true) return writeJson(io, { projectName, state });
  writeLines(io, [options.wait ? `${projectName} is gone.` : `${projectName} is being deleted.`]);
}

async function waitUntilGone(io: Io, client: MultinodeClient, { projectName, json }: UndeployOptions): Promise<void> {
  const line = new LiveLine(io.stdout);
  let said = "";
  try {
    while (await isThere(client, projectName, io.signal)) {
      const text = `${projectName}: ${await endingText(client, projectName, io.signal)}`;
      if (json !== true && io.stdout.isTerminal) line.draw("", 0, text);
      else if (json !== true && text !== said) writeLines(io, [text]);
      said = text;
      await wait(POLL_MS, undefined, { signal: io.signal });
    }
  } catch (error) {
    line.clear();
    if (io.signal.aborted)
      io.stderr.write(`${projectName} is still being deleted, and goes on without this command.\n`);
    throw error;
  }
  line.clear();
}

async function isThere(client: MultinodeClient, projectName: string, signal: AbortSignal): Promise<boolean> {
  try {
    await client.registry.getProject({ projectName }, { signal });
    return true;
  } catch (error) {
    if (error instanceof ProjectDoesNotExist) return false;
    throw error;
  }
}

async function endingText(client: MultinodeClient, projectName: string, signal: AbortSignal): Promise<string> {
  const request = {
    projectName,
    functionName: "",
    versionId: "",
    statuses: ["PENDING", "RUNNING", "CANCELLING"],
    parentInvocationId: "",
    createdFromMs: undefined,
    createdBeforeMs: undefined,
    pageSize: LIMITS.maxPageSize,
    offset: "",
  } as const;
  try {
    const { invocations, offset } = await client.list(request, signal);
    if (offset !== undefined)
      return `more than ${LIMITS.maxPageSize.toLocaleString("en-US")} invocations are still ending`;
    if (invocations.length === 0) return "waiting for the last workers to end";
    return `${count(invocations.length, "invocation")} still ending`;
  } catch (error) {
    // It went away between the two questions.
    if (error instanceof ProjectDoesNotExist) return "gone";
    throw error;
  }
}

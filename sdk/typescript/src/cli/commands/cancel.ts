import type { Command } from "commander";
import { InvocationIsAlreadyTerminated } from "../../errors.js";
import { CommandError } from "../command_error.js";
import type { CommandContext } from "../context.js";
import { invocationJson } from "../output/invocation.js";
import { writeJson, writeLines } from "../output/write.js";
import { functionNameOption, invocationIdOption, jsonOption, projectNameOption } from "../parameters.js";

interface CancelOptions {
  invocationId: string;
  projectName?: string;
  functionName?: string;
  json?: boolean;
}

export function registerCancel(program: Command, context: CommandContext): void {
  program
    .command("cancel")
    .description("ask an invocation, and all that it started, to end")
    .addOption(invocationIdOption().makeOptionMandatory())
    .addOption(projectNameOption())
    .addOption(functionNameOption())
    .addOption(jsonOption())
    .action((options: CancelOptions) => cancel(context, options));
}

async function cancel({ io, connect }: CommandContext, options: CancelOptions): Promise<void> {
  const { invocationId, projectName = "", functionName = "" } = options;
  await using client = await connect();
  const invocation = await client
    .cancel(invocationId, { projectName, functionName, versionId: "" }, io.signal)
    .catch((error: unknown) => {
      if (!(error instanceof InvocationIsAlreadyTerminated)) throw error;
      throw new CommandError(
        error.reason,
        `${invocationId} has ended already; there is nothing to cancel.`,
        `See how: multinode describe --invocation-id ${invocationId}`,
        { cause: error },
      );
    });
  if (options.json === true) return writeJson(io, invocationJson(invocation));
  writeLines(io, [
    invocation.status === "CANCELLED"
      ? `${invocationId} is cancelled.`
      : `${invocationId} is ${invocation.status}. Follow it: multinode watch --invocation-id ${invocationId}`,
  ]);
}

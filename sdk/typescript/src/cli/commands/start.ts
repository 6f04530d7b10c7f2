import { type Command, InvalidArgumentError, Option } from "commander";
import { LIMITS } from "../../protocol/limits.js";
import { encodeArguments, PayloadSizeLimitExceeded } from "../../values/codec.js";
import { CommandError, UsageError } from "../command_error.js";
import type { CommandContext } from "../context.js";
import { writeJsonLine, writeLines } from "../output/write.js";
import { functionNameOption, jsonOption, parseDuration, projectNameOption, versionIdOption } from "../parameters.js";
import { watchInvocation } from "../watch_invocation.js";

interface StartOptions {
  projectName: string;
  functionName: string;
  versionId?: string;
  idempotencyKey?: string;
  ttl?: number;
  args?: string;
  watch?: boolean;
  json?: boolean;
}

export function registerStart(program: Command, context: CommandContext): void {
  program
    .command("start")
    .description("start an invocation of a function, and write its id")
    .argument("[arg...]", "arguments of the function: each is JSON, or, where it is none, a text")
    .addOption(projectNameOption().makeOptionMandatory())
    .addOption(functionNameOption().makeOptionMandatory())
    .addOption(versionIdOption())
    .addOption(
      new Option("--idempotency-key <key>", "start at most once with this key within 24 hours").argParser(parseKey),
    )
    .addOption(new Option("--ttl <duration>", 'give up unless it has begun by then, such as "10m"').argParser(parseTtl))
    .option("--args <list>", "all arguments as one JSON list, such as '[1,2]'")
    .option("-w, --watch", "follow it to its end")
    .addOption(jsonOption())
    .addHelpText("after", `\nExample:\n  multinode start -p my_project -f resize '"cat.png"' 640 --watch`)
    .action((texts: string[], options: StartOptions) => start(context, texts, options));
}

async function start(context: CommandContext, texts: readonly string[], options: StartOptions): Promise<void> {
  const { io } = context;
  const { projectName, functionName, versionId = "", idempotencyKey = "", ttl, json = false } = options;
  const encoded = encode(argumentsOf(texts, options.args));
  await using client = await context.connect();
  const invocationId = await client.start(
    { projectName, functionName, versionId, arguments: encoded, idempotencyKey, ttlMs: ttl },
    io.signal,
  );
  if (options.watch === true) {
    if (!json) io.stderr.write(`${invocationId}\n`);
    await watchInvocation(io, client, invocationId, { json, until: "finished" });
    return;
  }
  if (json) return writeJsonLine(io, { invocationId });
  // The id alone goes to stdout, so that a script can take it.
  writeLines(io, [invocationId]);
  if (io.stdout.isTerminal) io.stderr.write(`Follow it: multinode watch --invocation-id ${invocationId}\n`);
}

function parseKey(value: string): string {
  const limit = LIMITS.idempotencyKeyLength;
  // Such as of a variable that is not set: without a key each repetition would start another one.
  if (value.length < 1 || value.length > limit)
    throw new InvalidArgumentError(`It must have 1 to ${limit} characters.`);
  return value;
}

function parseTtl(value: string): number {
  const ttlMs = parseDuration(value);
  if (ttlMs < 1 || ttlMs > LIMITS.ttlMs) throw new InvalidArgumentError("It must be more than 0 and at most 365d.");
  return ttlMs;
}

function argumentsOf(texts: readonly string[], list: string | undefined): unknown[] {
  if (list === undefined) return texts.map(parseArgument);
  if (texts.length > 0) throw new UsageError("Give the arguments one by one or by --args, not both.");
  try {
    const parsed: unknown = JSON.parse(list);
    if (Array.isArray(parsed)) return parsed;
  } catch {
    // Said below.
  }
  throw new UsageError(`--args takes a JSON list, such as '[1,"two"]'; "${list}" is none.`);
}

function parseArgument(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function encode(args: readonly unknown[]): ReturnType<typeof encodeArguments> {
  const encoded = encodeArguments(args);
  const bytes = encoded.positional?.data.byteLength ?? 0;
  // A server can be told a larger limit for payloads; this is the largest.
  if (bytes > LIMITS.payloadBytesMax) {
    throw new CommandError(
      "FunctionInputSizeLimitExceeded",
      new PayloadSizeLimitExceeded("the input", bytes, LIMITS.payloadBytesMax).message,
      "Put the data where the function can read it, and pass its address.",
    );
  }
  return encoded;
}

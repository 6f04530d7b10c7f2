import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import type { WriteStream } from "node:tty";
import { UsageError } from "./command_error.js";
import type { Io, Output } from "./io.js";

/** The real terminal. Where the reader of a pipe goes away (`multinode list | head`), the process ends quietly. */
export function processIo(signal: AbortSignal): Io {
  return {
    stdout: outputOf(process.stdout),
    stderr: outputOf(process.stderr),
    env: process.env,
    signal,
    ask:
      process.stdin.isTTY && process.stderr.isTTY ? (question, { hidden }) => ask(question, hidden, signal) : undefined,
  };
}

function outputOf(stream: WriteStream): Output {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  return {
    write: (text) => void stream.write(text),
    get isTerminal() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns ?? 80;
    },
  };
}

/** Questions go to stderr, so that stdout holds results only. A hidden answer is not echoed. */
async function ask(question: string, hidden: boolean, signal: AbortSignal): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: hidden ? silent : process.stderr, terminal: true });
  // The line editor takes Ctrl-C for itself; here it means what it means everywhere else.
  terminal.once("SIGINT", () => process.kill(process.pid, "SIGINT"));
  // After Ctrl-D no answer comes any more.
  const ended = once(terminal, "close").then(() => {
    throw new UsageError("Nothing was answered.");
  });
  try {
    if (hidden) process.stderr.write(question);
    return await Promise.race([terminal.question(hidden ? "" : question, { signal }), ended]);
  } finally {
    ended.catch(() => {});
    terminal.close();
    if (hidden) process.stderr.write("\n");
  }
}

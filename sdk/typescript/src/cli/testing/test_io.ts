import type { StartServer } from "../commands/up.js";
import type { Io, Output } from "../io.js";
import { run } from "../run.js";

export interface Outcome {
  readonly exitStatus: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly isTerminal?: boolean;
  readonly signal?: AbortSignal;
  /** What a person answers, in the order of the questions. Default: nobody can be asked. */
  readonly answers?: readonly string[];
  readonly startServer?: StartServer;
}

/** Runs one command line in this process and keeps what it writes. */
export async function runCommand(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const stdout = new Kept(options.isTerminal === true);
  const stderr = new Kept(options.isTerminal === true);
  const answers = [...(options.answers ?? [])];
  const io: Io = {
    stdout,
    stderr,
    env: options.env ?? {},
    signal: options.signal ?? new AbortController().signal,
    ask: options.answers === undefined ? undefined : async () => answers.shift() ?? "",
  };
  const exitStatus = await run(argv, io, options.startServer);
  return { exitStatus, stdout: stdout.text, stderr: stderr.text };
}

class Kept implements Output {
  text = "";
  readonly columns = 80;
  readonly isTerminal: boolean;

  constructor(isTerminal: boolean) {
    this.isTerminal = isTerminal;
  }

  write(text: string): void {
    this.text += text;
  }
}

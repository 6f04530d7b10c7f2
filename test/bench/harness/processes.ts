/**
 * Child processes of the benchmark. Each leads a process group of its own, so that Ctrl-C in a terminal reaches the benchmark
 * alone, which then ends them; whatever is left when the benchmark exits is killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { within } from "./clock.js";

/** Bound of a start, and of an answer. */
const ANSWER_BOUND_MS = 60_000;
/** Time to end after SIGTERM, before SIGKILL. */
const STOP_BOUND_MS = 15_000;
/** Lines of output that are kept to explain a failure. */
const KEPT_LINES = 15;

export interface ProcessOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Whether it is a Node program that sends messages. Default false. */
  readonly hasMessages?: boolean;
  readonly cwd?: string;
}

export class Processes {
  readonly #running = new Set<ChildProcess>();

  constructor() {
    process.once("exit", () => {
      for (const child of this.#running) killGroup(child, "SIGKILL");
    });
  }

  spawn(command: string, args: readonly string[], options: ProcessOptions = {}): RunningProcess {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe", ...(options.hasMessages === true ? ["ipc" as const] : [])],
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
      detached: true,
    });
    this.#running.add(child);
    child.once("exit", () => this.#running.delete(child));
    child.once("error", () => this.#running.delete(child));
    return new RunningProcess(command, child);
  }

  /** A Node program with messages. */
  node(args: readonly string[], options: ProcessOptions = {}): RunningProcess {
    return this.spawn(process.execPath, args, { ...options, hasMessages: true });
  }

  /** Runs a command to its end and answers its standard output. Throws where it fails. */
  async run(command: string, args: readonly string[], options: ProcessOptions = {}): Promise<string> {
    const child = this.spawn(command, args, options);
    const lines: string[] = [];
    child.onLine((line) => lines.push(line));
    const code = await within(ANSWER_BOUND_MS, command, child.exited);
    if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${child.lastLines}`);
    return lines.join("\n");
  }

  /** Ends what is left, such as after a failure. */
  async endAll(): Promise<void> {
    await Promise.all([...this.#running].map((child) => endGroup(child)));
  }
}

export class RunningProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #lastLines: string[] = [];
  readonly #lineListeners: ((line: string) => void)[] = [];
  /** Exit code, or the name of a signal. */
  readonly exited: Promise<number | string>;

  constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    const isTold = new Promise<number | string>((resolve) => {
      child.once("exit", (code, signal) => resolve(code ?? signal ?? "no code"));
      child.once("error", (error) => resolve(error.message));
    });
    const outputs = [child.stdout, child.stderr].map((stream) => {
      if (stream === null) return Promise.resolve();
      const lines = createInterface({ input: stream });
      lines.on("line", (line) => {
        this.#lastLines.push(line);
        if (this.#lastLines.length > KEPT_LINES) this.#lastLines.shift();
        if (stream === child.stdout) for (const listener of this.#lineListeners) listener(line);
      });
      return new Promise<void>((resolve) => lines.once("close", resolve));
    });
    this.exited = Promise.all([isTold, ...outputs]).then(([code]) => code);
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.#name} could not be started`);
    return pid;
  }

  get lastLines(): string {
    return this.#lastLines.join("\n");
  }

  onLine(listener: (line: string) => void): void {
    this.#lineListeners.push(listener);
  }

  /** The first line of standard output from now on that fits. */
  async line(pattern: RegExp): Promise<string> {
    return await this.#answer(
      `a line ${pattern}`,
      new Promise((resolve) => this.onLine((line) => pattern.test(line) && resolve(line))),
    );
  }

  /** The next message that the program sends. */
  async message<T>(): Promise<T> {
    const next = new Promise<T>((resolve) => this.#child.once("message", (message) => resolve(message as T)));
    return await this.#answer("a message", next);
  }

  async ask<T>(question: string): Promise<T> {
    const answer = this.message<T>();
    this.#child.send(question);
    return await answer;
  }

  async stop(): Promise<void> {
    await endGroup(this.#child);
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #answer<T>(what: string, answer: Promise<T>): Promise<T> {
    const ended = this.exited.then((code) => {
      throw new Error(`${this.#name} ended with ${code}:\n${this.lastLines}`);
    });
    return await within(ANSWER_BOUND_MS, `${what} of ${this.#name}`, Promise.race([answer, ended]));
  }
}

/** By SIGTERM, and by force what has not ended in time. */
async function endGroup(child: ChildProcess): Promise<void> {
  const isOver = child.exitCode !== null || child.signalCode !== null;
  const exited: Promise<unknown> = isOver ? Promise.resolve() : once(child, "exit");
  killGroup(child, "SIGTERM");
  await within(STOP_BOUND_MS, "the end of a process", exited).catch(() => undefined);
  killGroup(child, "SIGKILL");
  await exited;
}

function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

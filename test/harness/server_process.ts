/** A server as a child process that says on standard output, in one line of JSON, that it listens. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { killWithUs } from "./kill_with_us.js";

const START_TIMEOUT_MS = 30_000;
/** A server that has not ended this long after SIGTERM is killed with its group. */
const STOP_TIMEOUT_MS = 15_000;
/** What is kept of a server's standard error, for the message when it does not start. */
const STDERR_CHARACTERS = 8_000;
const LOG_LINES = 1_000;

export interface ServerProcess {
  readonly pid: number;
  /** The line that it wrote when it listened. */
  readonly announced: Readonly<Record<string, unknown>>;
  /** The last lines of its log. */
  logged(): readonly Record<string, unknown>[];
  /** The last of what it wrote to standard error. */
  stderr(): string;
  /** Its exit status, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Ends it by its id: SIGTERM, and SIGKILL to what is left after a bound. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash. Resolves when it is gone. */
  kill(): Promise<void>;
}

export interface ServerProcessOptions {
  readonly name: string;
  /** Arguments of node: the program, then its own. */
  readonly args: readonly string[];
  /** Beside this process's own PATH and HOME. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether a line announces that it listens. */
  readonly isAnnouncement: (line: Record<string, unknown>) => boolean;
  /** Where its log is written to, behind that of its earlier lives. Default: nowhere. */
  readonly logFile?: string;
}

/** Rejects, with the last of its standard error, when the server ends or says nothing within 30 s. */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { name, args, env, isAnnouncement, logFile } = options;
  // Its own group, so that Ctrl-C on the tests does not take it away before it is stopped in order.
  const child = spawn(process.execPath, [...args], {
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"], TMPDIR: process.env["TMPDIR"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  killWithUs(child);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-STDERR_CHARACTERS);
  });
  const stderr = () => said;
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? code ?? -1));
  });
  const log: Record<string, unknown>[] = [];
  const keep = (line: Record<string, unknown>) => {
    if (logFile !== undefined) appendFileSync(logFile, `${JSON.stringify(line)}\n`);
    log.push(line);
    if (log.length > LOG_LINES) log.shift();
  };
  try {
    const announced = await announcement(child, isAnnouncement, keep);
    const pid = child.pid;
    if (pid === undefined) throw new Error("it has no process id");
    const [stopIt, killIt] = [() => stop(child, "SIGTERM"), () => stop(child, "SIGKILL")];
    return { pid, announced, logged: () => log, stderr, ended, stop: stopIt, kill: killIt };
  } catch (error) {
    await stop(child, "SIGKILL");
    const lastLine = log.length === 0 ? "" : JSON.stringify(log.at(-1));
    throw new Error(`${name} did not start: ${said || lastLine || String(error)}`, { cause: error });
  }
}

async function announcement(
  child: ChildProcess,
  isAnnouncement: ServerProcessOptions["isAnnouncement"],
  keep: (line: Record<string, unknown>) => void,
): Promise<Record<string, unknown>> {
  const { stdout } = child;
  if (stdout === null) throw new Error("its standard output is not a pipe");
  const lines = createInterface({ input: stdout });
  const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>();
  // Listening goes on after the announcement, so that the pipe never fills.
  lines.on("line", (line) => {
    const parsed = parseLine(line);
    if (parsed === undefined) return;
    if (isAnnouncement(parsed)) resolve(parsed);
    else keep(parsed);
  });
  child.once("exit", (code, signal) => reject(new Error(`it ended with ${code ?? signal}`)));
  child.once("error", reject);
  const timer = setTimeout(() => reject(new Error(`it said nothing within ${START_TIMEOUT_MS} ms`)), START_TIMEOUT_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(line);
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const { pid } = child;
  if (pid === undefined) return;
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, "exit");
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  }
  child.stdout?.destroy();
  child.stderr?.destroy();
}

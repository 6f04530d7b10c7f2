/**
 * Workers as child processes, for one machine. Each leads a process group of its own, which is killed whole.
 *
 * It does not isolate: functions run as the server's user, share its network, and see its files. Memory is watched by the
 * worker itself; CPU is not limited.
 *
 * X1. A worker holds one end of a socket pair whose other end dies with the server, however that dies, and then kills its
 *     own group. So kill -9 of the server leaves nothing behind.
 * X2. Each worker is also written down, so that one which was stopped when the server died is killed at the next start.
 * X3. What workers keep for each other, unpacked bundles and compiled code, does not grow for ever (kept_code.ts).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { ranOutOfMemory, VISIBLE_VARIABLES, WORKER_FLAGS } from "../../../sdk/typescript/src/worker/worker_flags.js";
import type { Logger } from "../../platform/log.js";
import { KeptCode } from "./kept_code.js";
import { readLines } from "./output_lines.js";
import { type GroupLeader, groupEnded, killGroup, leaderOf } from "./process_group.js";
import type { Runtime, WorkerExit, WorkerSpec } from "./runtime.js";

/** File descriptor of the worker's end of the lifeline. */
const LIFELINE_FD = 3;
/** Lines of a worker's own output that are kept to explain its end. */
const KEPT_LINES = 20;
/** How long the last of the output may take after the end of the group. Who has left the group may hold it open for ever. */
const LAST_OUTPUT_MS = 250;
const KEEP_UNUSED_CODE_MS = 3_600_000;
const CODE_LOOK_INTERVAL_MS = 600_000;

export interface ProcessRuntimeSettings {
  /** Where workers are written down, and what they keep for each other lies. */
  readonly folder: string;
  /** The program of the worker, a file. */
  readonly workerProgram: string;
  /** Certificates, in PEM, that workers trust beside those that this process trusts. */
  readonly caFile?: string | undefined;
  /** How long unpacked code is kept that no worker uses, in milliseconds. Default 1 h. */
  readonly keepUnusedCodeMs?: number;
  /** How often that is looked at, in milliseconds. Default 10 min. */
  readonly codeLookIntervalMs?: number;
  readonly log: Logger;
}

interface RunningProcess {
  readonly child: ChildProcess;
  readonly leader: GroupLeader;
  readonly exited: Promise<void>;
  /** Digests of the bundles that it was told of. */
  readonly bundles: Set<string>;
}

export class ProcessRuntime implements Runtime {
  readonly name = "process";
  readonly survivesRestart = false;
  readonly #settings: ProcessRuntimeSettings;
  readonly #records: string;
  readonly #code: KeptCode;
  readonly #codeTimer: NodeJS.Timeout;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #running = new Map<string, RunningProcess>();
  readonly #exitListeners: ((exit: WorkerExit) => void)[] = [];
  readonly #outputListeners: ((workerId: string, stream: "stdout" | "stderr", line: string) => void)[] = [];

  constructor(settings: ProcessRuntimeSettings) {
    this.#settings = settings;
    this.#records = join(settings.folder, "workers");
    mkdirSync(this.#records, { recursive: true, mode: 0o700 });
    this.#killLeftOver();
    const { keepUnusedCodeMs = KEEP_UNUSED_CODE_MS, codeLookIntervalMs = CODE_LOOK_INTERVAL_MS } = settings;
    this.#code = new KeptCode(settings.folder, keepUnusedCodeMs);
    this.#codeTimer = setInterval(() => this.#removeUnusedCode(), codeLookIntervalMs);
    this.#codeTimer.unref();
    const caFile = settings.caFile === undefined ? undefined : this.#trustAlso(settings.caFile);
    this.#environment = environment(this.#code.compiled, caFile);
  }

  async start({ workerId, boot }: WorkerSpec): Promise<string> {
    const child = spawn(process.execPath, [...WORKER_FLAGS, this.#settings.workerProgram], {
      detached: true, // leads a process group
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      env: this.#environment,
    });
    const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null; error?: Error }>((resolve) => {
      // `close` would wait for grandchildren that hold the pipes.
      child.once("exit", (code, signal) => resolve({ code, signal }));
      child.once("error", (error) => resolve({ code: null, signal: null, error }));
    });
    const leader = child.pid === undefined ? undefined : leaderOf(child.pid);
    if (child.pid === undefined || leader === undefined) {
      const { error } = await exit;
      throw new Error(`the worker's process could not be started: ${error?.message ?? "it ended at once"}`);
    }
    try {
      writeFileSync(this.#record(workerId), JSON.stringify(leader), { mode: 0o600 });
    } catch (error) {
      this.#kill(workerId, leader); // on a full disk it could not be found again (X2)
      throw error;
    }
    const bundles = new Set<string>();
    const lastLines: string[] = [];
    const output = this.#listen(workerId, child, lastLines);
    const lifeline = child.stdio[LIFELINE_FD] as Writable;
    lifeline.on("error", () => {}); // the worker is gone, which its exit tells
    lifeline.write(`${JSON.stringify({ ...boot, bundleCacheDir: this.#code.bundles })}\n`);
    const exited = exit.then(async ({ code, signal }) => {
      try {
        this.#kill(workerId, leader); // what it started
        await groupEnded(leader);
        await Promise.race([output, delay(LAST_OUTPUT_MS, undefined, { ref: false })]);
        rmSync(this.#record(workerId), { force: true });
      } catch (err) {
        this.#settings.log.error({ err, workerId }, "what a worker left behind could not be taken away");
      }
      this.#code.used(bundles);
      this.#running.delete(workerId);
      const description = signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
      for (const listener of this.#exitListeners)
        listener({ workerId, description, outOfMemory: ranOutOfMemory(lastLines) });
    });
    this.#running.set(workerId, { child, leader, exited, bundles });
    return `pid ${child.pid}`;
  }

  /** The worker watches its memory itself. */
  async limit(): Promise<void> {}

  usesBundle(workerId: string, digest: string): void {
    this.#running.get(workerId)?.bundles.add(digest);
  }

  async stop(workerId: string): Promise<void> {
    const running = this.#running.get(workerId);
    if (running === undefined) return;
    this.#kill(workerId, running.leader);
    await running.exited;
  }

  async list(): Promise<string[]> {
    return [...this.#running.keys()];
  }

  onExit(listener: (exit: WorkerExit) => void): void {
    this.#exitListeners.push(listener);
  }

  onOutput(listener: (workerId: string, stream: "stdout" | "stderr", line: string) => void): void {
    this.#outputListeners.push(listener);
  }

  async close(): Promise<void> {
    clearInterval(this.#codeTimer);
    await Promise.all([...this.#running.keys()].map((workerId) => this.stop(workerId)));
  }

  /** Node reads one file only. Answers its path. */
  #trustAlso(caFile: string): string {
    const files = [process.env["NODE_EXTRA_CA_CERTS"], caFile];
    const trusted = files.flatMap((path) => (path !== undefined && existsSync(path) ? readFileSync(path, "utf8") : []));
    const file = join(this.#settings.folder, "trusted.pem");
    writeFileSync(file, trusted.join("\n"));
    return file;
  }

  #record(workerId: string): string {
    return join(this.#records, `${workerId}.json`);
  }

  /** Settles at the end of what it prints. */
  async #listen(workerId: string, { stdout, stderr }: ChildProcess, lastLines: string[]): Promise<void> {
    const read = async (readable: Readable | null, stream: "stdout" | "stderr") => {
      if (readable === null) return;
      await readLines(readable, (line) => {
        lastLines.push(line);
        if (lastLines.length > KEPT_LINES) lastLines.shift();
        for (const listener of this.#outputListeners) listener(workerId, stream, line);
      });
    };
    await Promise.all([read(stdout, "stdout"), read(stderr, "stderr")]);
  }

  #removeUnusedCode(): void {
    try {
      this.#code.removeUnused(new Set([...this.#running.values()].flatMap(({ bundles }) => [...bundles])));
    } catch (err) {
      this.#settings.log.warn({ err }, "unpacked code that no worker uses could not be removed");
    }
  }

  #kill(workerId: string, leader: GroupLeader): void {
    if (killGroup(leader)) return;
    this.#settings.log.warn({ workerId, group: leader.pid }, "a worker left processes of another user behind");
  }

  #killLeftOver(): void {
    for (const name of readdirSync(this.#records)) {
      const file = join(this.#records, name);
      try {
        this.#kill(name, JSON.parse(readFileSync(file, "utf8")) as GroupLeader);
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error; // a record that was cut off: its worker never began
      }
      rmSync(file, { force: true });
    }
  }
}

function environment(compiled: string, caFile: string | undefined): Record<string, string> {
  const env: Record<string, string> = { NODE_COMPILE_CACHE: compiled };
  for (const name of VISIBLE_VARIABLES) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  if (caFile !== undefined) env["NODE_EXTRA_CA_CERTS"] = caFile;
  return env;
}

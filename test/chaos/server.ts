/** `multinode up` on one data folder and one port, through all of its lives. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { CLI_PROGRAM } from "../harness/cli_program.js";
import { startEmbeddedTarget } from "../harness/embedded_target.js";
import type { RunningTarget } from "../harness/running_target.js";
import { childrenOf, type ProcessName, signalProcess } from "./processes.js";

/** Longest time from SIGTERM to the end. */
const STOP_BOUND_MS = 15_000;

export class RestartableServer {
  readonly dataDir: string;
  /** Every child that the server was seen with. */
  readonly workers: ProcessName[] = [];
  #port = 0;
  #target: RunningTarget | undefined;

  constructor(dataDir: string) {
    this.dataDir = dataDir;
  }

  get pid(): number {
    const pid = this.#target?.servers["embedded"]?.pid;
    if (pid === undefined) throw new Error("the server is not running");
    return pid;
  }

  /** Answers its address, which stays the same, when it listens. */
  async start(): Promise<{ apiUrl: string; apiKey: string }> {
    const target = await startEmbeddedTarget({ dataDir: this.dataDir, port: this.#port });
    this.#target = target;
    this.#port = Number(new URL(target.apiUrl).port);
    return target;
  }

  /** Starts it and kills it after so long, in the middle of its start. */
  async startAndKill(afterMs: number): Promise<void> {
    const args = [CLI_PROGRAM, "up", "--port", String(this.#port), "--data-dir", this.dataDir, "--json"];
    const child = spawn(process.execPath, args, {
      stdio: "ignore",
      detached: true,
      env: { ...process.env, MULTINODE_HOME: `${this.dataDir}.home` },
    });
    const exited = once(child, "exit");
    await Promise.race([delay(afterMs), exited]);
    child.kill("SIGKILL");
    await exited;
  }

  seeWorkers(): ProcessName[] {
    const children = childrenOf(this.pid);
    this.workers.push(...children);
    return children;
  }

  /** kill -9, if it is running. */
  async kill(): Promise<void> {
    if (this.#target === undefined) return;
    this.seeWorkers();
    await this.#target?.servers["embedded"]?.kill();
    await this.#forget();
  }

  /** A stop in order. Throws where it is none. */
  async stop(): Promise<void> {
    const status = await this.interrupt("SIGTERM");
    if (status !== 0) throw new Error(`the server ended with ${status}`);
  }

  /** Answers its exit status, or, where it did not end in time, the signal that ended it then. */
  async interrupt(signal: "SIGINT" | "SIGTERM"): Promise<number | string> {
    this.seeWorkers();
    const { pid } = this;
    const ended = this.#target?.servers["embedded"]?.ended;
    const timer = setTimeout(() => signalProcess(pid, "SIGKILL"), STOP_BOUND_MS);
    signalProcess(pid, signal);
    const status = await ended;
    clearTimeout(timer);
    await this.#forget();
    return status ?? "nothing";
  }

  async #forget(): Promise<void> {
    // Removes its temporary files as well.
    await this.#target?.stop();
    this.#target = undefined;
  }
}

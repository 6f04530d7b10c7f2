/**
 * A file that is fresh while calls are welcome: for health checks that cost no more than a look, such as those of containers.
 * It holds how long the machine had been up at the last beat, in whole seconds, which a shell compares with /proc/uptime.
 */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { uptime } from "node:os";
import type { Logger } from "./log.js";

const INTERVAL_MS = 2_000;

export class Heartbeat {
  readonly #file: string;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;

  constructor(file: string, log: Logger) {
    this.#file = file;
    this.#log = log;
    rmSync(file, { force: true }); // of an earlier life
  }

  start(): void {
    this.#beat();
    this.#timer = setInterval(() => this.#beat(), INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#attempt(() => rmSync(this.#file, { force: true }));
  }

  #beat(): void {
    this.#attempt(() => {
      writeFileSync(`${this.#file}.new`, `${Math.floor(uptime())}\n`);
      renameSync(`${this.#file}.new`, this.#file);
    });
  }

  #attempt(change: () => void): void {
    try {
      change();
    } catch (err) {
      this.#log.warn({ err }, "the file for health checks cannot be changed");
    }
  }
}

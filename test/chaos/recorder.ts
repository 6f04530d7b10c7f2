/**
 * Stands outside of the system and writes down what functions tell it, over a connection for each execution: that it begins,
 * that it ends, and, by the end of the connection, that its worker is gone. A function goes on when what it told is recorded.
 */
import { appendFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import type { JournalLine } from "./journal.js";

export class Recorder {
  readonly #server: Server;
  readonly #file: string;
  readonly #lines = new Set<Socket>();
  readonly #running = new Set<string>();
  #watchers: (() => void)[] = [];
  /** What is to be let go on; undefined: nothing is held. */
  #held: (() => void)[] | undefined;
  #address = "";

  private constructor(file: string) {
    this.#file = file;
    this.#server = createServer((line) => this.#listen(line));
  }

  /** @param file the journal, to whose end it writes */
  static async open(host: string, file: string): Promise<Recorder> {
    const recorder = new Recorder(file);
    const server = recorder.#server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, host, resolve);
    });
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("there is no port");
    recorder.#address = `tcp://${host}:${address.port}`;
    return recorder;
  }

  /** What functions are told. */
  get address(): string {
    return this.#address;
  }

  /** How many executions have begun whose workers are not gone. */
  get running(): number {
    return this.#running.size;
  }

  /** From now on what begins waits for `release` before it goes on. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    for (const goOn of this.#held ?? []) goOn();
    this.#held = undefined;
  }

  /** Resolves when so many run. Rejects after the bound. */
  async untilRunning(holds: (running: number) => boolean, boundMs: number): Promise<void> {
    const endsAt = performance.now() + boundMs;
    while (!holds(this.#running.size)) {
      const leftMs = endsAt - performance.now();
      if (leftMs <= 0) throw new Error(`${this.#running.size} executions run after ${boundMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#watchers.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  async close(): Promise<void> {
    for (const line of this.#lines) line.destroy();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  #listen(line: Socket): void {
    let begun: JournalLine | undefined;
    let isOver = false;
    const end = () => {
      isOver = true;
      if (begun !== undefined) this.#gone(begun);
    };
    this.#lines.add(line);
    for (const event of ["end", "error", "close"]) line.once(event, end);
    line.once("close", () => this.#lines.delete(line));
    const entries = createInterface({ input: line });
    entries.on("error", end); // it hands on those of the connection
    entries.on("line", (text) => {
      const entry = JSON.parse(text) as JournalLine;
      if (entry.event !== "begin") {
        this.#record(entry);
        line.write("\n");
        return;
      }
      // What ended before this began, as the kernel knows, is read in the same turn: it counts first.
      setImmediate(() => {
        begun = entry;
        this.#running.add(entry.executionId);
        this.#record(entry);
        if (isOver) this.#gone(entry);
        if (this.#held === undefined) line.write("\n");
        else this.#held.push(() => line.write("\n"));
      });
    });
  }

  #gone(begun: JournalLine): void {
    if (!this.#running.delete(begun.executionId)) return;
    this.#record({ ...begun, event: "gone" });
  }

  #record(entry: JournalLine): void {
    appendFileSync(this.#file, `${JSON.stringify(entry)}\n`);
    for (const wake of this.#watchers.splice(0)) wake();
  }
}

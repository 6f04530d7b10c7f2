/**
 * Synchronizes a file with the disk, one time after the other: whoever asks before one begins shares it.
 *
 * Y1. `sync` answers after a synchronization that began after it was asked for.
 * Y2. What is to be done at once goes first: a synchronization begins two turns of the event loop after it was asked for.
 * Y3. A fast disk is waited for in place, since handing the wait to another thread and back takes longer than the wait. A
 *     slow one, or where the server has much else to do meanwhile, is waited for in Node's thread pool.
 * Y4. Once one has failed, what was written may be lost whatever a later one says: none is tried again.
 */
import { fdatasync, fdatasyncSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { promisify } from "node:util";

/** Up to this long a disk is fast. */
const FAST_MS = 1;

const fdatasyncInPool = promisify(fdatasync);

export class DiskSync {
  readonly #path: string;
  #file: FileHandle | undefined;
  /** Asked for, and not yet begun. */
  #next: Promise<void> | undefined;
  #isNextBusy = false;
  #running: Promise<void> = Promise.resolve();
  #lastMs = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** `isBusy`: the server has much else to do. */
  sync(isBusy = false): Promise<void> {
    this.#isNextBusy ||= isBusy;
    this.#next ??= this.#begin(this.#running);
    return this.#next;
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#next, this.#running]);
    await this.#file?.close();
    this.#file = undefined;
  }

  async #begin(before: Promise<void>): Promise<void> {
    await before; // Y4: rejects for ever after a failure
    await nextTurn();
    await nextTurn();
    this.#file ??= await open(this.#path, "r+");
    this.#next = undefined;
    const isBusy = this.#isNextBusy;
    this.#isNextBusy = false;
    this.#running = this.#run(this.#file.fd, isBusy);
    await this.#running;
  }

  async #run(fd: number, isBusy: boolean): Promise<void> {
    const startedAt = performance.now();
    if (this.#lastMs <= FAST_MS && !isBusy) fdatasyncSync(fd);
    else await fdatasyncInPool(fd);
    this.#lastMs = performance.now() - startedAt;
  }
}

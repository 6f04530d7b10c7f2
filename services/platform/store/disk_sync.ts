/**
 * Synchronizes a file with the disk, one time after the other: whoever asks while one is under way shares the next.
 *
 * Y1. `sync` answers after a synchronization that began after it was asked for.
 * Y2. Once one has failed, what was written may be lost whatever a later one says: none is tried again.
 */
import { type FileHandle, open } from "node:fs/promises";

export class DiskSync {
  readonly #path: string;
  #file: FileHandle | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  sync(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    if (this.#running === undefined) {
      this.#running = this.#run();
      return this.#running;
    }
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      this.#running = this.#run();
      return this.#running;
    });
    return this.#next;
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#running, this.#next]);
    await this.#file?.close();
    this.#file = undefined;
  }

  async #run(): Promise<void> {
    try {
      this.#file ??= await open(this.#path, "r+");
      await this.#file.datasync();
    } catch (error) {
      this.#failure = { error };
      throw error;
    } finally {
      if (this.#next === undefined) this.#running = undefined;
    }
  }
}

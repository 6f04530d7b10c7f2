/**
 * What worker processes of one server keep for each other: unpacked bundles, and compiled code. It lies in the server's own
 * folder, where no other user of the machine can put any, and is empty at each start.
 *
 * K1. A bundle that no worker has used for a while is taken away, and so is what a worker left that was killed while it
 *     unpacked. Nothing tells of which bundle compiled code is: all of it goes then, and workers compile again.
 * K2. None is taken from under a worker: the runtime hears which one a worker uses before the worker does. Who hears of one
 *     that is gone unpacks it again.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";

/** Begins the names of what is being taken away. */
const OLD = ".old-";

export class KeptCode {
  readonly bundles: string;
  readonly compiled: string;
  readonly #keepMs: number;
  readonly #monotonic: () => number;
  /** By digest: when it was used last, or seen first. */
  readonly #usedAt = new Map<string, number>();

  /** @param keepMs how long what is not used is kept */
  constructor(folder: string, keepMs: number, monotonic: () => number = () => performance.now()) {
    this.bundles = join(folder, "unpacked");
    this.compiled = join(folder, "compiled");
    this.#keepMs = keepMs;
    this.#monotonic = monotonic;
    for (const path of [this.bundles, this.compiled]) {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      makeEmpty(path);
    }
  }

  /** K1. In one turn, in which no worker can be told of a bundle (K2). */
  removeUnused(inUse: ReadonlySet<string>): void {
    const now = this.#monotonic();
    const names = new Set([...readdirSync(this.bundles), ...inUse]);
    for (const digest of this.#usedAt.keys()) if (!names.has(digest)) this.#usedAt.delete(digest);
    let isAnyGone = false;
    for (const name of names) {
      const usedAt = this.#usedAt.get(name);
      if (usedAt === undefined || inUse.has(name)) this.#usedAt.set(name, now);
      else if (now - usedAt > this.#keepMs) {
        takeAway(this.bundles, name);
        this.#usedAt.delete(name);
        isAnyGone = true;
      }
    }
    if (isAnyGone) makeEmpty(this.compiled);
  }

  /** These were in use until now. */
  used(digests: Iterable<string>): void {
    for (const digest of digests) this.#usedAt.set(digest, this.#monotonic());
  }
}

function makeEmpty(folder: string): void {
  for (const name of readdirSync(folder)) takeAway(folder, name);
}

/** It gets out of the way at once, also on a disk that is full, and is removed beside whatever follows: it may be much. */
function takeAway(folder: string, name: string): void {
  const old = name.startsWith(OLD) ? name : OLD + randomUUID();
  if (old !== name) renameSync(join(folder, name), join(folder, old));
  rm(join(folder, old), { recursive: true, force: true }).catch(() => {}); // tried again later, or by the next start
}

/**
 * What a worker has from its start, and a function must find in it: the image that it runs in, and its size where it keeps
 * the limits that it was started with.
 */
import type { WorkerResources } from "../runtime/runtime.js";

export interface WorkerKind {
  /** A context's digest, or STANDARD_IMAGE. */
  readonly image: string;
  /** Its limits as one word, to be compared, or ANY_SIZE. */
  readonly size: string;
}

export const STANDARD_IMAGE = "";
/** Of workers whose limits are set when they are bound: they serve functions of all sizes. */
export const ANY_SIZE = "";

export function sizeOf({ cpu, memoryBytes }: WorkerResources): string {
  return `${cpu} ${memoryBytes}`;
}

export function resourcesOf(size: string): WorkerResources | undefined {
  if (size === ANY_SIZE) return undefined;
  const [cpu, memoryBytes] = size.split(" ").map(Number);
  if (cpu === undefined || memoryBytes === undefined) throw new Error(`"${size}" is no size of a worker`);
  return { cpu, memoryBytes };
}

/** The kind of spares, as one word. */
export const SPARE = "";

/** Kinds as one word each. */
export class WorkerKinds {
  readonly #spareSize: string;
  readonly #kinds = new Map<string, WorkerKind>();

  /** @param spareSize the size of spares, or ANY_SIZE: then all sizes are the same one */
  constructor(spareSize: string) {
    this.#spareSize = spareSize;
  }

  of({ image, size }: WorkerKind): string {
    const ownSize = this.#spareSize === ANY_SIZE || size === this.#spareSize ? "" : ` ${size}`;
    const kind = image + ownSize;
    if (!this.#kinds.has(kind)) this.#kinds.set(kind, { image, size: this.#spareSize === ANY_SIZE ? ANY_SIZE : size });
    return kind;
  }

  get(kind: string): WorkerKind {
    return this.#kinds.get(kind) ?? { image: STANDARD_IMAGE, size: this.#spareSize };
  }
}

/**
 * Starts the workers that a plan asks for. One in an image of its own waits until that is there, and after a failure the next
 * attempt comes later: for each image by itself, so that one that does not work holds up no other.
 */

import { Refusal } from "../../platform/errors.js";
import type { ImageBuilds } from "../images/image_builds.js";
import type { Plan } from "../plan.js";
import type { Scheduler } from "../scheduler.js";
import { SpareRefill } from "./spare_refill.js";
import { StartBackoff } from "./start_backoff.js";
import { STANDARD_IMAGE, type WorkerKind } from "./worker_kind.js";

/** Images of which it is remembered that they are there. */
const MOST_IMAGES = 1_000;
/** What another attempt does not change. */
const FINAL_REASONS: ReadonlySet<string> = new Set([
  "ImageBuildFailed",
  "ImagesAreNotSupported",
  "BundleDoesNotExist",
  "BundleIsInvalid",
]);

export class Provisioner {
  readonly #scheduler: Scheduler;
  readonly #builds: ImageBuilds;
  readonly #backoffs = new Map<string, StartBackoff>();
  /** Names of the images that are there, by context. */
  readonly #names = new Map<string, string>();
  readonly #preparing = new Set<string>();
  readonly #stopping = new AbortController();
  readonly #refill: SpareRefill;

  constructor(scheduler: Scheduler, builds: ImageBuilds) {
    this.#scheduler = scheduler;
    this.#refill = new SpareRefill(() => scheduler.wake());
    this.#builds = builds;
  }

  isReady(image: string): boolean {
    return image === STANDARD_IMAGE || this.#names.has(image);
  }

  /** Whether workers can be started in an image now. Where not, it is seen to, and the scheduler is woken when they can. */
  prepare(image: string): boolean {
    if (this.isReady(image)) return true;
    if (!this.#preparing.has(image) && !this.#isWaiting(image)) this.#prepare(image);
    return false;
  }

  #prepare(image: string): void {
    this.#preparing.add(image);
    void this.#builds
      .ensure(image, this.#stopping.signal)
      .then(
        (name) => {
          if (this.#names.size >= MOST_IMAGES) this.#names.clear();
          this.#names.set(image, name);
        },
        (error: unknown) => {
          if (this.#stopping.signal.aborted) return;
          this.#backoffOf(image).failed();
          this.#scheduler.settings.log.error({ err: error, image }, "an image could not be made ready");
          if (error instanceof Refusal && FINAL_REASONS.has(error.reason)) {
            this.#scheduler.failWaiting(image, `ProvisioningError: ${error.message}`);
          }
        },
      )
      .finally(() => {
        this.#preparing.delete(image);
        this.#scheduler.wake();
      });
  }

  start({ start, refill }: Pick<Plan, "start" | "refill">): void {
    for (const kind of this.#startable(start)) {
      const imageName = this.#names.get(kind.image);
      if (!this.#scheduler.beginNext(kind, imageName)) this.#start(kind);
    }
    for (const kind of this.#startable(refill.slice(0, this.#refill.take(refill.length)))) this.#start(kind);
  }

  #startable(kinds: readonly WorkerKind[]): WorkerKind[] {
    return kinds.filter(({ image }) => !this.#isWaiting(image) && this.prepare(image));
  }

  #start(kind: WorkerKind): void {
    this.#scheduler.pool.start((exit) => this.#scheduler.exited(exit), kind, this.#names.get(kind.image));
  }

  /** A worker of this image has come. */
  succeeded(image: string): void {
    this.#backoffs.get(image)?.succeeded();
  }

  /** A worker of this image ended before it came. Whether the image is there is asked again. */
  failed(image: string): void {
    this.#names.delete(image);
    this.#backoffOf(image).failed();
  }

  stop(): void {
    this.#stopping.abort();
    this.#refill.stop();
  }

  #isWaiting(image: string): boolean {
    return this.#backoffs.get(image)?.isWaiting === true;
  }

  #backoffOf(image: string): StartBackoff {
    let backoff = this.#backoffs.get(image);
    if (backoff === undefined) {
      backoff = new StartBackoff(() => this.#scheduler.wake());
      this.#backoffs.set(image, backoff);
    }
    return backoff;
  }
}

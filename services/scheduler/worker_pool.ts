/** The workers of one scheduler: started and stopped through the runtime, and where each is in its life. */
import type { FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { IdSource } from "../platform/ids.js";
import type { Logger } from "../platform/log.js";
import type { FunctionShape, WorkerView } from "./plan.js";
import { ImageIsMissingError, type Runtime, type WorkerExit, type WorkerResources } from "./runtime/runtime.js";
import { ANY_SIZE, resourcesOf, type WorkerKind } from "./worker_kind.js";
import type { WorkerSession } from "./worker_session.js";
import type { WorkerTokens } from "./worker_token.js";

const STOP_AGAIN_MS = 1_000;
/** CPUs with which a worker boots as fast as it can, or nearly. */
const LEAST_BOOT_CPU = 1;

export interface BoundFunction {
  readonly shape: FunctionShape;
  readonly projectName: string;
  readonly versionId: string;
  readonly spec: FunctionSpec;
}

export interface PooledWorker extends WorkerKind {
  readonly id: string;
  readonly createdAt: number;
  phase: WorkerView["phase"];
  runtimeRef: string;
  bound: BoundFunction | undefined;
  /** Limits that it was given before it was bound, and whether they could be set. */
  anticipated: { readonly resources: WorkerResources; readonly isSet: Promise<boolean> } | undefined;
  /** Fulfilled when it has the limits of what it is bound to: no code of a function runs before. */
  limited: Promise<void>;
  session: WorkerSession | undefined;
  /** Executions that it runs. */
  readonly running: Set<string>;
  /** The last that has ended in it, if it takes no other: what its process printed may come after the end. */
  last?: string;
  taken: number;
  /** Executions that it brought and that were not given to this scheduler, until it has said what it runs. */
  refused?: ReadonlySet<string> | undefined;
  /** Counts when it comes with executions: before they are claimed, and after. */
  claims: number;
  idleSince: number;
  /** Monotonic time of its last message. */
  heardAt: number;
}

/** The end of a worker, or of a start without one. */
export interface PoolExit extends WorkerExit {
  /** Whether it could not start because its image is not there any more. */
  readonly imageIsMissing?: boolean;
}

export interface PoolSettings {
  readonly runtime: Runtime;
  readonly tokens: WorkerTokens;
  readonly ids: IdSource;
  readonly log: Logger;
  readonly schedulerUrl: () => string;
  readonly otherUrls: readonly string[];
  /** Monotonic milliseconds. */
  readonly monotonic: () => number;
  readonly now: () => number;
}

export class WorkerPool {
  readonly workers = new Map<string, PooledWorker>();
  readonly #settings: PoolSettings;
  /** Of the function that a worker was bound to last. */
  #lastBound: WorkerResources | undefined;

  constructor(settings: PoolSettings) {
    this.#settings = settings;
  }

  /**
   * Starts a spare. It is `starting` until it says hello; a start that fails is an exit.
   *
   * @param imageName what the runtime calls the image; absent: the standard one
   */
  start(exited: (exit: PoolExit) => void, kind: WorkerKind, imageName?: string): void {
    const { runtime, tokens, ids, schedulerUrl, otherUrls } = this.#settings;
    const id = ids.next("wrk");
    const worker = this.#add(id, "starting", kind);
    const boot = { schedulerUrl: schedulerUrl(), otherUrls, workerId: id, workerToken: tokens.issue(id) };
    const image = imageName === undefined ? {} : { image: imageName };
    runtime.start({ workerId: id, boot, ...image, resources: resourcesOf(kind.size) }).then(
      (ref) => {
        worker.runtimeRef = ref;
        this.#anticipate(worker);
      },
      (error: unknown) => {
        // It may exist all the same (R1).
        this.#end(id);
        const imageIsMissing = error instanceof ImageIsMissingError;
        const description = `could not be started: ${String(error)}`;
        exited({ workerId: id, description, outOfMemory: false, imageIsMissing });
      },
    );
  }

  /** Takes a worker that was another scheduler's: it finishes what it runs, and holds its slots until it is gone. */
  adopt(id: string, bound: BoundFunction): PooledWorker {
    const worker = this.#add(id, "draining", bound.shape);
    worker.taken = Number.POSITIVE_INFINITY;
    this.bind(worker, bound);
    worker.phase = "draining";
    return worker;
  }

  #add(id: string, phase: PooledWorker["phase"], { image, size }: WorkerKind): PooledWorker {
    const { monotonic, now } = this.#settings;
    const worker: PooledWorker = {
      id,
      createdAt: now(),
      image,
      phase,
      size,
      runtimeRef: "",
      bound: undefined,
      anticipated: undefined,
      limited: Promise.resolve(),
      session: undefined,
      running: new Set(),
      taken: 0,
      claims: 0,
      idleSince: now(),
      heardAt: monotonic(),
    };
    this.workers.set(id, worker);
    return worker;
  }

  /** Asks the runtime to end it; the runtime's exit removes it. */
  stop(worker: PooledWorker): void {
    if (worker.phase === "stopping") return;
    worker.phase = "stopping";
    // Its stream stays open until it is gone: a worker that lost it would go to another scheduler, which would take it over.
    this.#end(worker.id);
  }

  #end(workerId: string): void {
    const { runtime, log } = this.#settings;
    runtime.stop(workerId).catch((err: unknown) => {
      log.error({ err, workerId }, "a worker could not be stopped; trying again");
      setTimeout(() => this.#end(workerId), STOP_AGAIN_MS).unref();
    });
  }

  bind(worker: PooledWorker, bound: BoundFunction): void {
    worker.phase = "active";
    worker.bound = bound;
    const { cpu = 0, memoryBytes = 0 } = bound.spec.options ?? {};
    this.#lastBound = { cpu, memoryBytes };
    worker.limited = this.#limit(worker, this.#lastBound);
    worker.limited.catch((err: unknown) => {
      this.#settings.log.error({ err, workerId: worker.id }, "a worker's limits could not be set: it is stopped");
      this.stop(worker);
    });
  }

  /**
   * Limits take time that a call would wait for. So a worker gets those of the last function while it boots; the next one is
   * often the same. Not a small part of a CPU, with which it would boot, and fetch its code, slowly.
   */
  #anticipate(worker: PooledWorker): void {
    const resources = this.#lastBound;
    if (resources === undefined || resources.cpu < LEAST_BOOT_CPU) return;
    if (worker.size !== ANY_SIZE || worker.phase !== "starting") return;
    const isSet = this.#settings.runtime.limit(worker.id, resources).then(
      () => true,
      () => false, // it may be bound to another function
    );
    worker.anticipated = { resources, isSet };
  }

  /** After those that were anticipated: the last ones are to hold. */
  async #limit({ id, anticipated }: PooledWorker, resources: WorkerResources): Promise<void> {
    const isSet = await anticipated?.isSet;
    const { cpu, memoryBytes } = resources;
    const isSame = anticipated?.resources.cpu === cpu && anticipated.resources.memoryBytes === memoryBytes;
    if (isSet !== true || !isSame) await this.#settings.runtime.limit(id, resources);
  }

  /** Workers that never came, or fell silent. */
  silent(): PooledWorker[] {
    const now = this.#settings.monotonic();
    return [...this.workers.values()].filter(({ phase, session, heardAt }) => {
      if (phase === "stopping") return false;
      const limit = phase === "starting" || session === undefined ? LIMITS.workerBootMs : LIMITS.workerSilenceMs;
      return now - heardAt > limit;
    });
  }

  views(): WorkerView[] {
    return [...this.workers.values()].map((worker) => ({
      id: worker.id,
      phase: worker.phase,
      image: worker.image,
      size: worker.size,
      shape: worker.bound?.shape,
      running: worker.running.size,
      taken: worker.taken,
      idleSince: worker.idleSince,
    }));
  }
}

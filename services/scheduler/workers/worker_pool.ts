/** The workers of one scheduler: started and stopped through the runtime, and where each is in its life. */
import { setTimeout as delay } from "node:timers/promises";
import type { FunctionSpec } from "../../../gen/multinode/registry/v1/function.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import type { FirstWork } from "../../../sdk/typescript/src/worker/first_work.js";
import type { IdSource } from "../../platform/ids.js";
import type { Logger } from "../../platform/log.js";
import type { FunctionShape, WorkerView } from "../plan.js";
import {
  ImageIsMissingError,
  type Runtime,
  type WorkerExit,
  type WorkerResources,
  type WorkerSpec,
} from "../runtime/runtime.js";
import { ANY_SIZE, resourcesOf, type WorkerKind } from "./worker_kind.js";
import type { WorkerSession } from "./worker_session.js";
import type { WorkerTokens } from "./worker_token.js";

const STOP_AGAIN_MS = 1_000;
/** CPUs with which a worker boots as fast as it can, or nearly. */
export const LEAST_BOOT_CPU = 1;

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
  /** Whether it has said that it ends. */
  isLeaving?: boolean;
  /** Its resident memory, as it said last. */
  memoryBytes: number;
  /** Which process it is, once it has come. */
  instance?: string;
  /** Why it is to be taken as one that could not be provisioned. */
  failure?: string;
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
  /** Monotonic. */
  idleSince: number;
  /** Whether the runtime has not said that it is started, which may take as long as an engine is away. */
  isBeingStarted: boolean;
  /** Monotonic time of its last message, or of its start. */
  heardAt: number;
  /** Whether this scheduler stood still after that, so that it may have ended. */
  isInDoubt: boolean;
}

/** The end of a worker, or of a start without one. */
export interface PoolExit extends WorkerExit {
  /** Present where the runtime could not start it. */
  readonly failedStart?: { readonly imageIsMissing: boolean };
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
  /** Workers that were asked of the runtime so far. */
  starts = 0;
  readonly #settings: PoolSettings;
  /** Starts under way of workers that begin by themselves. */
  readonly #beginning = new Set<Promise<unknown>>();
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
    const worker = this.#addStarting(kind);
    const given = { ...this.#specOf(worker, imageName), resources: resourcesOf(kind.size) };
    this.#settings.runtime.start(given).then(
      (ref) => {
        this.#started(worker, ref);
        this.#anticipate(worker);
      },
      (error: unknown) => {
        // It may exist all the same (R1).
        void this.#end(worker.id);
        exited(exitOfStart(worker, error));
      },
    );
  }

  /**
   * Starts a worker that is bound from its start, and begins with what it is started for. That has begun or not when a start
   * fails, so that its exit is told when nothing of it is left.
   */
  startFor(
    bound: BoundFunction,
    work: Promise<FirstWork | undefined>,
    exited: (exit: PoolExit) => void,
    imageName?: string,
  ): PooledWorker {
    const worker = this.#addStarting(bound.shape);
    const resources = this.#bound(worker, bound);
    const spec = this.#specOf(worker, imageName);
    const starting = work
      .then((firstWork) => {
        // Asked for while there was nothing of it yet, a stop has ended nothing.
        if (worker.phase === "stopping") throw new Error("it was stopped before it had started");
        return this.#settings.runtime.start({ ...spec, resources, firstWork });
      })
      .then(
        (ref) => this.#started(worker, ref),
        async (error: unknown) => {
          await this.#end(worker.id);
          exited(exitOfStart(worker, error));
          throw error;
        },
      );
    worker.limited = starting;
    const settled = starting.catch(() => {}).finally(() => this.#beginning.delete(settled));
    this.#beginning.add(settled);
    return worker;
  }

  /** Resolves when no worker is being started that begins by itself. */
  async begun(): Promise<void> {
    await Promise.all(this.#beginning);
  }

  #specOf({ id }: PooledWorker, imageName: string | undefined): WorkerSpec {
    const { tokens, schedulerUrl, otherUrls } = this.#settings;
    const boot = { schedulerUrl: schedulerUrl(), otherUrls, workerId: id, workerToken: tokens.issue(id) };
    return { workerId: id, boot, ...(imageName === undefined ? {} : { image: imageName }) };
  }

  /** Takes a worker that was another scheduler's: it finishes what it runs, and holds its slots until it is gone. */
  adopt(id: string, bound: BoundFunction): PooledWorker {
    const worker = this.#add("draining", bound.shape, id);
    worker.taken = Number.POSITIVE_INFINITY;
    this.bind(worker, bound);
    worker.phase = "draining";
    return worker;
  }

  #addStarting(kind: WorkerKind): PooledWorker {
    this.starts += 1;
    const worker = this.#add("starting", kind);
    worker.isBeingStarted = true;
    return worker;
  }

  #add(
    phase: PooledWorker["phase"],
    { image, size }: WorkerKind,
    id: string = this.#settings.ids.next("wrk"),
  ): PooledWorker {
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
      idleSince: monotonic(),
      isBeingStarted: false,
      memoryBytes: 0,
      heardAt: monotonic(),
      isInDoubt: false,
    };
    this.workers.set(id, worker);
    return worker;
  }

  /** Its time to come begins now. */
  #started(worker: PooledWorker, ref: string): void {
    worker.runtimeRef = ref;
    worker.isBeingStarted = false;
    worker.heardAt = this.#settings.monotonic();
  }

  /** Asks the runtime to end it; the runtime's exit removes it. */
  stop(worker: PooledWorker): void {
    if (worker.phase === "stopping") return;
    worker.phase = "stopping";
    // Its stream stays open until it is gone: a worker that lost it would go to another scheduler, which would take it over.
    void this.#end(worker.id);
  }

  /** Resolves when it is gone. */
  async #end(workerId: string): Promise<void> {
    const { runtime, log } = this.#settings;
    for (;;) {
      try {
        await runtime.stop(workerId);
        return;
      } catch (err) {
        log.error({ err, workerId }, "a worker could not be stopped; trying again");
        await delay(STOP_AGAIN_MS, undefined, { ref: false });
      }
    }
  }

  bind(worker: PooledWorker, bound: BoundFunction): void {
    worker.phase = "active";
    worker.limited = this.#limit(worker, this.#bound(worker, bound));
    worker.limited.catch((err: unknown) => {
      this.#settings.log.error({ err, workerId: worker.id }, "a worker's limits could not be set: it is stopped");
      this.stop(worker);
    });
  }

  #bound(worker: PooledWorker, bound: BoundFunction): WorkerResources {
    worker.bound = bound;
    const { cpu = 0, memoryBytes = 0 } = bound.spec.options ?? {};
    this.#lastBound = { cpu, memoryBytes };
    return this.#lastBound;
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

  /**
   * Workers that never came, or fell silent. Of one that is being started nothing can be said: its runtime insists, and what
   * waits for it is not to fail because an engine is away.
   */
  silent(): PooledWorker[] {
    const now = this.#settings.monotonic();
    return [...this.workers.values()].filter(({ phase, session, isBeingStarted, heardAt }) => {
      if (phase === "stopping" || isBeingStarted) return false;
      const limit = phase === "starting" || session === undefined ? LIMITS.workerBootMs : LIMITS.workerSilenceMs;
      return now - heardAt > limit;
    });
  }

  views(): WorkerView[] {
    return [...this.workers.values()].map((worker) => ({
      id: worker.id,
      // As one that has not come yet, which has no place.
      phase: worker.isInDoubt && (worker.phase === "spare" || worker.phase === "active") ? "starting" : worker.phase,
      image: worker.image,
      size: worker.size,
      shape: worker.bound?.shape,
      running: worker.running.size,
      taken: worker.taken,
      idleSince: worker.idleSince,
    }));
  }
}

function exitOfStart({ id }: PooledWorker, error: unknown): PoolExit {
  return {
    workerId: id,
    description: `could not be started: ${String(error)}`,
    outOfMemory: false,
    failedStart: { imageIsMissing: error instanceof ImageIsMissingError },
  };
}

/** The workers of one scheduler: started and stopped through the runtime, and where each is in its life. */
import type { FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { IdSource } from "../platform/ids.js";
import type { Logger } from "../platform/log.js";
import type { FunctionShape, WorkerView } from "./plan.js";
import type { Runtime, WorkerExit } from "./runtime/runtime.js";
import type { WorkerSession } from "./worker_session.js";
import type { WorkerTokens } from "./worker_token.js";

const STOP_AGAIN_MS = 1_000;

export interface BoundFunction {
  readonly shape: FunctionShape;
  readonly projectName: string;
  readonly versionId: string;
  readonly spec: FunctionSpec;
}

export interface PooledWorker {
  readonly id: string;
  readonly createdAt: number;
  phase: WorkerView["phase"];
  runtimeRef: string;
  bound: BoundFunction | undefined;
  /** Fulfilled when it has the limits of what it is bound to: no code of a function runs before. */
  limited: Promise<void>;
  session: WorkerSession | undefined;
  /** Executions that it runs. */
  readonly running: Set<string>;
  taken: number;
  /** Executions that it brought and that were not given to this scheduler, until it has said what it runs. */
  refused?: ReadonlySet<string> | undefined;
  /** Counts when it comes with executions: before they are claimed, and after. */
  claims: number;
  idleSince: number;
  /** Monotonic time of its last message. */
  heardAt: number;
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

  constructor(settings: PoolSettings) {
    this.#settings = settings;
  }

  /** Starts a spare. It is `starting` until it says hello; a start that fails is an exit. */
  start(exited: (exit: WorkerExit) => void): void {
    const { runtime, tokens, ids, schedulerUrl, otherUrls } = this.#settings;
    const id = ids.next("wrk");
    const worker = this.#add(id, "starting");
    const boot = { schedulerUrl: schedulerUrl(), otherUrls, workerId: id, workerToken: tokens.issue(id) };
    runtime.start({ workerId: id, boot }).then(
      (ref) => {
        worker.runtimeRef = ref;
      },
      (error: unknown) => {
        // It may exist all the same (R1).
        this.#end(id);
        exited({ workerId: id, description: `could not be started: ${String(error)}`, outOfMemory: false });
      },
    );
  }

  /** Takes a worker that was another scheduler's: it finishes what it runs, and holds its slots until it is gone. */
  adopt(id: string, bound: BoundFunction): PooledWorker {
    const worker = this.#add(id, "draining");
    worker.taken = Number.POSITIVE_INFINITY;
    this.bind(worker, bound);
    worker.phase = "draining";
    return worker;
  }

  #add(id: string, phase: PooledWorker["phase"]): PooledWorker {
    const { monotonic, now } = this.#settings;
    const worker: PooledWorker = {
      id,
      createdAt: now(),
      phase,
      runtimeRef: "",
      bound: undefined,
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
    worker.session?.close();
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
    const { runtime, log } = this.#settings;
    const { cpu = 0, memoryBytes = 0 } = bound.spec.options ?? {};
    worker.limited = runtime.limit(worker.id, { cpu, memoryBytes });
    worker.limited.catch((err: unknown) => {
      log.error({ err, workerId: worker.id }, "a worker's limits could not be set: it is stopped");
      this.stop(worker);
    });
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
      shape: worker.bound?.shape,
      running: worker.running.size,
      taken: worker.taken,
      idleSince: worker.idleSince,
    }));
  }
}

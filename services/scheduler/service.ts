/** The scheduler service, put together: what workers and operators may call. */

import { z } from "zod";
import {
  type SchedulerServiceImplementation,
  type Worker,
  WorkerState,
} from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import type { WorkerServiceImplementation } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { permissionDenied, Refusal } from "../platform/errors.js";
import type { Caller } from "../platform/rpc/principal.js";
import { digestField, idField, parse } from "../platform/rpc/validation.js";
import { measureScheduler } from "./metrics.js";
import { Scheduler } from "./scheduler.js";
import type { SchedulerSettings } from "./scheduler_settings.js";
import type { PooledWorker } from "./workers/worker_pool.js";
import { WORKER_STATES } from "./workers/worker_state.js";

export interface SchedulerService {
  readonly workers: WorkerServiceImplementation<Caller>;
  readonly operators: SchedulerServiceImplementation<Caller>;
  start(): Promise<void>;
  /** Ends all workers; bounded by `signal`. */
  stop(signal: AbortSignal): Promise<void>;
}

const buildRequest = z.object({ contextDigest: digestField });
const drainRequest = z.object({ workerId: idField("wrk") });

export function createSchedulerService(settings: SchedulerSettings): SchedulerService {
  const scheduler = new Scheduler(settings);
  if (settings.metrics !== undefined) measureScheduler(settings.metrics, scheduler);
  return {
    workers: {
      async *connect(requests, { principal, signal }) {
        if (principal.kind !== "worker") throw permissionDenied("only workers connect");
        yield* scheduler.traffic.connect(principal.workerId, requests, signal);
      },
      async *fetchBundle({ digest }, { signal }) {
        yield* settings.catalog.downloadBundle({ digest }, { signal });
      },
    },
    operators: {
      async listWorkers() {
        const workers = [...scheduler.pool.workers.values()].reverse();
        return { workers: workers.map((worker) => toMessage(worker, settings.runtime.name)) };
      },
      async *buildImage(message, { signal }) {
        const { contextDigest } = parse(buildRequest, message);
        for await (const output of scheduler.builds.follow(contextDigest, signal)) yield { output };
      },
      async drainWorker(message) {
        const { workerId } = parse(drainRequest, message);
        const worker = scheduler.pool.workers.get(workerId);
        if (worker === undefined) {
          throw new Refusal("WorkerDoesNotExist", `worker "${workerId}" does not exist`, { metadata: { workerId } });
        }
        if (worker.phase === "active") worker.phase = "draining";
        // One that is started for an execution takes no other, and ends with it.
        else if (worker.phase !== "draining" && worker.running.size === 0) scheduler.pool.stop(worker);
        scheduler.wake();
        return { worker: toMessage(worker, settings.runtime.name) };
      },
    },
    start: () => scheduler.start(),
    stop: (signal) => scheduler.stop(signal),
  };
}

function toMessage(worker: PooledWorker, runtime: string): Worker {
  return {
    workerId: worker.id,
    state: WorkerState[WORKER_STATES[worker.phase]],
    runtime,
    runtimeRef: worker.runtimeRef,
    projectName: worker.bound?.projectName ?? "",
    versionId: worker.bound?.versionId ?? "",
    functionName: worker.bound?.spec.functionName ?? "",
    executionIds: [...worker.running],
    createTimeMs: worker.createdAt,
    memoryBytes: worker.memoryBytes,
  };
}

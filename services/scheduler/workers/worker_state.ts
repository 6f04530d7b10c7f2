/** What the contract calls the phases of a worker. */
import type { WorkerState } from "../../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import type { PooledWorker } from "./worker_pool.js";

export const WORKER_STATES = {
  starting: "PROVISIONING",
  spare: "SPARE",
  active: "ACTIVE",
  draining: "DRAINING",
  stopping: "STOPPING",
} as const satisfies Record<PooledWorker["phase"], keyof typeof WorkerState>;

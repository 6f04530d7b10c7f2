/** What operators are told of a scheduler and its workers. */
import type { Metrics } from "../platform/metrics/metrics.js";
import type { Scheduler } from "./scheduler.js";
import { WORKER_STATES } from "./workers/worker_state.js";

export function measureScheduler(metrics: Metrics, scheduler: Scheduler): void {
  const workers = metrics.gauge("multinode_workers", "Workers of this scheduler", ["state"]);
  const limit = metrics.gauge("multinode_workers_limit", "Workers that it may have at the same time");
  const executions = metrics.gauge("multinode_executions", "Executions that this scheduler has a lease of", ["place"]);
  const starts = metrics.counter("multinode_worker_starts_total", "Workers that were asked of the runtime");
  const failures = metrics.counter("multinode_worker_start_failures_total", "Workers that did not come");
  const lease = metrics.gauge(
    "multinode_scheduler_lease_seconds",
    "How long this scheduler may still speak for its workers; 0: it has lost its lease",
  );
  metrics.beforeEach(() => {
    const { pool, runs, leases, settings, startFailures } = scheduler;
    for (const state of Object.values(WORKER_STATES)) workers.labels(state.toLowerCase()).set(0);
    for (const { phase } of pool.workers.values()) workers.labels(WORKER_STATES[phase].toLowerCase()).inc();
    limit.set(settings.maxWorkers);
    let placed = 0;
    let waiting = 0;
    for (const { workerId } of runs.values()) {
      if (workerId === undefined) waiting += 1;
      else if (pool.workers.has(workerId)) placed += 1;
    }
    executions.labels("worker").set(placed);
    executions.labels("waiting").set(waiting);
    starts.reset();
    starts.inc(pool.starts);
    failures.reset();
    failures.inc(startFailures);
    lease.set(Math.max(leases.trustedForMs, 0) / 1_000);
  });
}

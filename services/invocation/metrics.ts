/**
 * What operators are told of invocations. Each replica counts what was changed through it, so that sums over replicas are right;
 * what waits in the queues is looked up in the store, where it is the same for all of them.
 */
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { Metrics } from "../platform/metrics/metrics.js";
import type { InvocationDeps } from "./deps.js";
import { isFinished, type Life } from "./domain/life.js";
import type { Change, Identity } from "./store.js";

const FUNCTION = ["project", "function"] as const;
type FunctionLabels = Record<(typeof FUNCTION)[number], string>;
/** Functions beyond `LIMITS.metricsFunctions`, together. */
const OTHERS: FunctionLabels = { project: "*", function: "*" };

export function measureInvocations(
  metrics: Metrics,
  { announcer, db, store, clock }: Pick<InvocationDeps, "announcer" | "db" | "store" | "clock">,
): void {
  const started = metrics.counter("multinode_invocations_started_total", "Invocations stored", FUNCTION);
  const finished = metrics.counter("multinode_invocations_finished_total", "Invocations with their result", [
    ...FUNCTION,
    "status",
  ]);
  const ended = metrics.counter("multinode_executions_ended_total", "Attempts that have ended", [
    ...FUNCTION,
    "outcome",
  ]);
  const queueSeconds = metrics.histogram(
    "multinode_execution_queue_seconds",
    "From when an attempt could begin until a scheduler took it",
    FUNCTION,
  );
  const placeSeconds = metrics.histogram(
    "multinode_execution_place_seconds",
    "From when a scheduler took an attempt until user code began",
    FUNCTION,
  );
  const runSeconds = metrics.histogram(
    "multinode_execution_run_seconds",
    "From when user code began to its end",
    FUNCTION,
  );
  const labelsOf = functionLabels();
  const finish = (labels: FunctionLabels, { status }: Life) =>
    finished.labels(labels.project, labels.function, status).inc();

  announcer.observe({
    started: (invocations) => {
      for (const { identity, life } of invocations) {
        const labels = labelsOf(identity);
        started.labels(labels.project, labels.function).inc();
        if (isFinished(life)) finish(labels, life);
      }
    },
    changed: (changes: readonly Change[]) => {
      for (const { identity, before, after, ended: executions } of changes) {
        const labels = labelsOf(identity);
        const { project, function: name } = labels;
        if (isFinished(after) && !isFinished(before)) finish(labels, after);
        for (const { outcome, createdAt, startedAt, finishedAt } of executions) {
          ended.labels(project, name, outcome).inc();
          queueSeconds.labels(project, name).observe(secondsBetween(before.availableAt, createdAt));
          if (startedAt === null) continue;
          placeSeconds.labels(project, name).observe(secondsBetween(createdAt, startedAt));
          runSeconds.labels(project, name).observe(secondsBetween(startedAt, finishedAt));
        }
      }
    },
  });

  const waiting = metrics.gauge("multinode_queue_waiting", "Invocations that wait for a slot", FUNCTION);
  const oldest = metrics.gauge(
    "multinode_queue_oldest_seconds",
    "How long the first of them could have begun already",
    FUNCTION,
  );
  const slotsUsed = metrics.gauge("multinode_queue_slots_used", "Slots that executions hold", FUNCTION);
  const slots = metrics.gauge("multinode_queue_slots", "Slots that there are: maxConcurrency", FUNCTION);
  metrics.beforeEach(async () => {
    const queues = await db.peek((tx) => store.queueStates(tx, LIMITS.metricsFunctions));
    for (const gauge of [waiting, oldest, slotsUsed, slots]) gauge.reset();
    const now = clock.now();
    // A project that is being deleted may be there twice, with one that has its name now, which has the newest queue.
    for (const { projectName, functionName, queued, firstAvailableAt, used, slotLimit } of queues) {
      waiting.labels(projectName, functionName).inc(queued);
      oldest.labels(projectName, functionName).inc(secondsBetween(firstAvailableAt ?? now, now));
      slotsUsed.labels(projectName, functionName).inc(used);
      slots.labels(projectName, functionName).set(slotLimit);
    }
  });
}

/** Clocks of several machines are compared: none is to give a negative time. */
function secondsBetween(from: number, to: number): number {
  return Math.max(to - from, 0) / 1_000;
}

function functionLabels(): (identity: Identity) => FunctionLabels {
  const known = new Map<string, FunctionLabels>();
  return ({ projectId, projectName, functionName }) => {
    const key = `${projectId}/${functionName}`;
    const labels = known.get(key);
    if (labels !== undefined) return labels;
    if (known.size >= LIMITS.metricsFunctions) return OTHERS;
    const added = { project: projectName, function: functionName };
    known.set(key, added);
    return added;
  };
}

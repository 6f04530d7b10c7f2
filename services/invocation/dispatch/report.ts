/** ReportExecutions: what happened to executions, many with one commit. */
import type {
  DispatchServiceImplementation,
  ExecutionRef,
  ExecutionReport,
  ReportRefusal,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { badRequest } from "../../platform/errors.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { together, type WriteTransaction } from "../../platform/store/db.js";
import type { InvocationDeps } from "../deps.js";
import type { Rejection } from "../domain/transitions.js";
import type { KnownFunction } from "../functions.js";
import type { RunningLives } from "../running_lives.js";
import { type Change, type QueueRow, queueName, StaleLife, type StoredInvocation } from "../store.js";
import { WorkingSet } from "../working_set.js";
import { leaseQueued, settleLeased } from "./lease_batch.js";
import { toEvent } from "./report_event.js";

/**
 * How long one write checks results, which may take long: what is left of a request then has a write of its own, and others have
 * their turn before.
 */
const CHECKING_MS = 100;

/** Other queues with a free slot that are looked into, one by one. */
const MOST_OTHERS = 4;

type Refused = Exclude<Rejection, "ignored"> | "ExecutionDoesNotExist";

export function reportHandler(deps: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "reportExecutions"> {
  // Of the last slots that were given back: then it is likely of the next ones.
  let areSlotsWanted = false;
  return {
    async reportExecutions({ reports }) {
      if (reports.length > LIMITS.reportsPerRequest) {
        throw badRequest([{ field: "reports", description: `has more than ${LIMITS.reportsPerRequest} items` }]);
      }
      const refusals: ReportRefusal[] = [];
      let done = 0;
      do {
        const part = await storeSome(reports.slice(done));
        for (const refusal of part.refusals) refusals.push({ ...refusal, index: done + refusal.index });
        done += part.count;
      } while (done < reports.length);
      return { refusals };
    },
  };

  async function storeSome(reports: readonly ExecutionReport[]): Promise<Stored> {
    // Those who wait for a slot are given what this frees with the same write.
    const freed = areSlotsWanted ? reports.filter(givesBack).length : 0;
    const claim = freed === 0 ? undefined : deps.parked.claim(freed);
    // What runs is lost with the machine all the same, and what is told of its begin and its yields with it.
    const isDurable = claim !== undefined || reports.some(givesBack);
    const options = { durability: isDurable ? "durable" : "relaxed" } as const;
    const ids = [...new Set(reports.map(({ ref }) => ref?.invocationId ?? ""))];
    const write = (running?: RunningLives) =>
      deps.db.write(async (tx) => {
        const stored = await store(deps, tx, reports, ids, running);
        const own = claim && (await ownQueues(deps, tx, stored));
        const leased = claim && own && (await leaseQueued(deps, tx, claim.command, own, true));
        return { ...stored, leased };
      }, options);
    let written: Awaited<ReturnType<typeof write>> | undefined;
    try {
      written = await write(deps.running).catch((error: unknown) => {
        if (!(error instanceof StaleLife)) throw error;
        deps.running.forget(ids);
        return write();
      });
    } finally {
      if (claim !== undefined) settleLeased(deps, claim, written?.leased);
    }
    const { changes, wanted, leased } = written;
    if (changes.some(givesSlotBack)) areSlotsWanted = wanted.length > 0;
    deps.announcer.changed([...changes, ...(leased?.changes ?? [])], leased?.isMore ?? wanted.length > 0);
    return written;
  }
}

interface Stored {
  readonly changes: Change[];
  readonly refusals: ReportRefusal[];
  /** Queues that have what may be leased, where slots were given back. */
  readonly wanted: readonly QueueRow[];
  /** Of the first reports: those that this is about. */
  readonly count: number;
}

/** `running`: what this process remembers is taken from there, and else from the store. */
async function store(
  deps: InvocationDeps,
  tx: WriteTransaction,
  reports: readonly ExecutionReport[],
  ids: readonly string[],
  running: RunningLives | undefined,
): Promise<Stored> {
  const known = ids.map((id) => running?.get(id)).filter((invocation) => invocation !== undefined);
  const unknown = known.length === ids.length ? [] : ids.filter((id) => running?.get(id) === undefined);
  const working = new WorkingSet([...known, ...(await deps.store.load(tx, unknown))]);
  const now = deps.clock.now();
  const refusals: ReportRefusal[] = [];
  let count = 0;
  let checkedMs = 0;
  for (const [index, report] of reports.entries()) {
    if (checkedMs > CHECKING_MS) break;
    count += 1;
    const { ref } = report;
    const stored = ref === undefined ? undefined : working.get(ref.invocationId);
    let reason: Refused | undefined = "ExecutionDoesNotExist";
    if (ref !== undefined && stored !== undefined) {
      const { versionId, functionName } = stored.identity;
      const fn =
        deps.functions.cached(versionId, functionName) ?? (await deps.functions.load(tx, versionId, functionName));
      const about = { stored, ref, report, fn, now };
      const isCurrent = stored.life.current?.id === ref.executionId;
      const beganAt = performance.now();
      if (isCurrent) reason = recordCurrent(deps, working, about);
      checkedMs += performance.now() - beganAt;
      if (!isCurrent) reason = await recordEnded(deps, tx, working, about);
    }
    if (reason !== undefined) refusals.push({ index, executionId: ref?.executionId ?? "", reason });
  }
  // Nobody is refused for what this process remembers: the store may know better.
  if (refusals.length > 0 && known.length > 0) throw new StaleLife();
  const changes = working.changes();
  const [, wanted] = await together([
    deps.store.save(tx, changes),
    // Travels behind the counters, which lock their queues: what is queued later sees the slots.
    changes.some(givesSlotBack) ? deps.store.leasableQueues(tx) : [],
  ]);
  return { changes, refusals, wanted, count };
}

/**
 * The queues of what gave slots back, which this write has locked: to lock another one behind them could wait in a circle.
 * Undefined where others have something, too, that may be leased: then a lease of its own shares fairly among all.
 */
async function ownQueues(
  { store, clock }: InvocationDeps,
  tx: WriteTransaction,
  { wanted, changes }: Stored,
): Promise<QueueRow[] | undefined> {
  const names = new Set(changes.filter(givesSlotBack).map(({ identity }) => queueName(identity)));
  const own = wanted.filter((queue) => names.has(queueName(queue)));
  const others = wanted.filter((queue) => !names.has(queueName(queue)));
  if (others.length > MOST_OTHERS) return undefined;
  // What waits out a retry delay is nobody's for now.
  const dueAt = await store.nextAvailableAt(tx, others);
  return dueAt === null || dueAt > clock.now() ? own : undefined;
}

function givesSlotBack({ before, after }: Change): boolean {
  return after.held < before.held;
}

function givesBack({ event }: ExecutionReport): boolean {
  return event?.$case === "released" || event?.$case === "ended" || event?.$case === "givenBack";
}

/** One report, with what it is about. */
interface Reported {
  readonly stored: StoredInvocation;
  readonly ref: ExecutionRef;
  readonly report: ExecutionReport;
  readonly fn: KnownFunction;
  readonly now: number;
}

/** Of the execution that is current. */
function recordCurrent(
  deps: InvocationDeps,
  working: WorkingSet,
  { stored: { identity, life }, ref, report, fn, now }: Reported,
): Refused | undefined {
  if (life.current?.epoch !== ref.epoch) return "ExecutionIsNotCurrent";
  const event = toEvent(report, deps.limits.payloadBytes, fn);
  // A worker that is gone before its execution has ended is a failed attempt.
  if (event === undefined) {
    const reason = "the worker ended before the execution did";
    if (releases(report)) working.lose(identity.id, life.attempts, reason, now, fn.policy);
    return undefined;
  }
  if (report.event?.$case === "ended" && report.event.value.workerId !== "") {
    working.apply(identity.id, { type: "start", workerId: report.event.value.workerId }, now, fn.policy);
  }
  const reason = refused(working.apply(identity.id, event, now, fn.policy));
  if (reason === undefined && releases(report)) working.release(identity.id, life.attempts, now, fn.policy);
  return reason;
}

/** Of one that is not. */
async function recordEnded(
  deps: InvocationDeps,
  tx: WriteTransaction,
  working: WorkingSet,
  { stored: { identity }, report, fn, now }: Reported,
): Promise<Refused | undefined> {
  const attempt = await endedAttempt(deps, tx, working, report);
  if (attempt === undefined) return "ExecutionIsNotCurrent";
  // One that gave back its worker before holds nothing any more, whatever its invocation holds by now.
  if (releases(report) && attempt.held) working.release(identity.id, attempt.number, now, fn.policy);
  return report.event?.$case === "released" ? undefined : "ExecutionHasAlreadyFinished";
}

function releases({ event }: ExecutionReport): boolean {
  return event?.$case === "released" || (event?.$case === "ended" && event.value.released);
}

/** An attempt that has ended, by what names it and the right to speak for it. */
async function endedAttempt(
  deps: InvocationDeps,
  tx: WriteTransaction,
  working: WorkingSet,
  { ref }: ExecutionReport,
): Promise<{ number: number; held: boolean } | undefined> {
  if (ref === undefined) return undefined;
  const now = working.ended(ref.invocationId, ref.executionId);
  const earlier = (await deps.store.loadEnded(tx, ref.invocationId)).find(({ id }) => id === ref.executionId);
  const ended = now ?? earlier;
  return ended?.epoch === ref.epoch ? { number: ended.attemptNumber, held: earlier?.held ?? true } : undefined;
}

function refused(rejection: Rejection | undefined): Refused | undefined {
  return rejection === "ignored" ? undefined : rejection;
}

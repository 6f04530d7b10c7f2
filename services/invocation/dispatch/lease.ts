/** LeaseInvocations and StreamLeases: hand pending invocations to a scheduler, in one transaction with their slots. */
import type {
  DispatchServiceImplementation,
  LeasedExecution,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { InvocationDeps } from "../deps.js";
import { isWanted, type LeasedQueued, leaseQueued, roomOf, settleLeased } from "./lease_batch.js";
import type { LeaseCommand, LeaseOptions, ParkedLease } from "./parked_leases.js";
import { leaseRequest, streamLeasesRequest } from "./requests.js";

/** How often a scheduler that waits looks for itself, woken or not. */
const LOOK_INTERVAL_MS = 2_000;

/** Leases in a row that bring nothing though there is something. */
const MOST_TRIES = 8;

type Handlers = Pick<DispatchServiceImplementation<Caller>, "leaseInvocations" | "streamLeases">;

interface LeaseRequest extends LeaseCommand {
  readonly waitMs: number;
}

export function leaseHandlers(deps: InvocationDeps): Handlers {
  const looks = new Looks(deps);
  async function* leases(request: LeaseRequest, options: LeaseOptions, signal: AbortSignal) {
    const lease = deps.parked.open(request, options);
    const wake = () => lease.wake();
    signal.addEventListener("abort", wake);
    try {
      if (request.maxCount > 0) yield* leaseUntilOver(deps, looks, lease, request.waitMs, signal);
    } finally {
      signal.removeEventListener("abort", wake);
      deps.parked.close(lease);
    }
  }
  return {
    async leaseInvocations(message, { signal }) {
      for await (const executions of leases(parse(leaseRequest, message), { isOnce: true }, signal))
        return { executions };
      return { executions: [] };
    },
    async *streamLeases(message, { signal }) {
      const { receivedCount, ...request } = parse(streamLeasesRequest, message);
      for await (const executions of leases(request, { receivedCount }, signal)) yield { executions };
    },
  };
}

async function* leaseUntilOver(
  deps: InvocationDeps,
  looks: Looks,
  lease: ParkedLease,
  waitMs: number,
  signal: AbortSignal,
): AsyncGenerator<LeasedExecution[], void, undefined> {
  const waitUntil = performance.now() + waitMs;
  let looking: Promise<void> | undefined;
  let lookAt = 0;
  let failure: { readonly error: unknown } | undefined;
  for (;;) {
    for (let executions = lease.takeDelivered(); executions !== undefined; executions = lease.takeDelivered())
      yield executions;
    const now = performance.now();
    // What there is when it comes is looked for once, also where it is not to wait.
    const hasLooked = (lookAt > 0 || lease.left === 0) && looking === undefined;
    const isOver = hasLooked && now >= waitUntil;
    if (isOver || signal.aborted || failure !== undefined || lease.hasAll) lease.isEnding = true;
    if (lease.isEnding && looking === undefined && lease.isSettled) break;
    const isDue = lease.coming > 0 || lease.isToLook || now >= lookAt;
    if (looking === undefined && isDue && lease.left > 0) {
      const { coming } = lease;
      lease.coming = 0;
      lease.isToLook = false;
      looking = look(deps, looks, lease, coming, signal)
        .then(
          (dueMs) => (lookAt = performance.now() + Math.min(LOOK_INTERVAL_MS, dueMs)),
          (error: unknown) => (failure = { error }),
        )
        .then(() => {
          looking = undefined;
          lease.wake();
        });
    }
    const isIdle = looking === undefined && !lease.isEnding;
    const nextAt = lease.left > 0 ? Math.min(lookAt, waitUntil) : waitUntil;
    await lease.wait(isIdle ? nextAt - now : LOOK_INTERVAL_MS);
  }
  if (failure !== undefined) throw failure.error;
}

/**
 * Leases what there is, and takes no more of what the request asks for than that: the rest is for starts meanwhile. Answers how
 * long until a queued invocation has waited out its retry delay.
 */
async function look(
  deps: InvocationDeps,
  looks: Looks,
  lease: ParkedLease,
  coming: number,
  signal: AbortSignal,
): Promise<number> {
  const { round } = deps.parked;
  // What is only coming cannot be seen yet, and is leased with the commit that brings it. Otherwise looking first costs
  // less than a transaction that finds nothing.
  if (coming > 0 && (await leaseNow(deps, lease, coming))) return 0;
  const { leasable, dueMs } = await looks.look(lease.command, round);
  // Nobody would ever know what is leased when its caller is gone.
  if (leasable > 0 && !signal.aborted && (await leaseNow(deps, lease, leasable))) return 0;
  return dueMs;
}

/** Answers whether there was anything. */
async function leaseNow(deps: InvocationDeps, lease: ParkedLease, count: number): Promise<boolean> {
  const claim = lease.claim(count);
  if (claim === undefined) {
    // A start has all that is left, and may give some of it back.
    lease.isToLook = true;
    return false;
  }
  let leased: LeasedQueued | undefined;
  const write = () =>
    deps.db.write(async (tx) => leaseQueued(deps, tx, claim.command, await deps.store.leasableQueues(tx)));
  try {
    leased = await write();
    // Its share was of queues that have nothing due. Another is first the next time.
    for (let tries = 1; leased.executions.length === 0 && leased.isMoreWanted && tries < MOST_TRIES; tries++)
      leased = await write();
  } finally {
    settleLeased(deps, claim, leased);
  }
  deps.announcer.changed(leased.changes);
  return leased.executions.length > 0;
}

/**
 * Looks for what may be leased. Where there was nothing for anybody, that is so until a change is heard of, or until it is time
 * to look in any case.
 */
class Looks {
  readonly #deps: InvocationDeps;
  /** By the clock that does not jump: until when, and in which round, there is nothing; and when something is due. */
  #nothing = { round: -1, until: 0, dueAt: 0 };

  constructor(deps: InvocationDeps) {
    this.#deps = deps;
  }

  /**
   * Answers how many may be leased now, and how long until a queued invocation has waited out its retry delay.
   *
   * @param round of the parked leases, read before this is called
   */
  async look(command: LeaseCommand, round: number): Promise<{ leasable: number; dueMs: number }> {
    const startedAt = performance.now();
    const { until, dueAt } = this.#nothing;
    const lookAt = Math.min(until, dueAt);
    if (this.#nothing.round === round && startedAt < lookAt) return { leasable: 0, dueMs: lookAt - startedAt };
    const { db, store, clock } = this.#deps;
    const { leasable, dueMs, isForAll } = await db.peek(async (tx) => {
      const queues = await store.leasableQueues(tx);
      const wanted = queues.filter((queue) => isWanted(queue, command));
      const due = await store.nextAvailableAt(tx, wanted);
      const dueMs = due === null ? Number.POSITIVE_INFINITY : due - clock.now();
      if (dueMs > 0) return { leasable: 0, dueMs, isForAll: wanted.length === queues.length };
      const leasable = wanted.reduce((sum, queue) => sum + roomOf(queue), 0);
      return { leasable, dueMs: Number.POSITIVE_INFINITY, isForAll: false };
    });
    if (isForAll) this.#nothing = { round, until: startedAt + LOOK_INTERVAL_MS, dueAt: startedAt + dueMs };
    return { leasable, dueMs };
  }
}

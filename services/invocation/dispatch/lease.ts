/** LeaseInvocations and StreamLeases: hand pending invocations to a scheduler, in one transaction with their slots. */
import type {
  DispatchServiceImplementation,
  LeasedExecution,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { Arguments } from "../../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { WriteTransaction } from "../../platform/store/db.js";
import type { InvocationDeps } from "../deps.js";
import { shareFairly } from "../domain/fair_share.js";
import type { Change, QueueRow, StoredInvocation } from "../store.js";
import { WorkingSet } from "../working_set.js";
import { leasedBytes, leasedExecution } from "./leased_execution.js";
import type { LeaseCommand, LeaseOptions, ParkedLease } from "./parked_leases.js";
import { leaseRequest, streamLeasesRequest } from "./requests.js";

/** How often a scheduler that waits looks for itself, woken or not. */
const LOOK_INTERVAL_MS = 2_000;

type Handlers = Pick<DispatchServiceImplementation<Caller>, "leaseInvocations" | "streamLeases">;

interface LeaseRequest extends LeaseCommand {
  readonly waitMs: number;
}

export function leaseHandlers(deps: InvocationDeps): Handlers {
  // Which queue comes first changes from lease to lease, so that none is always served last.
  let turn = 0;
  const looks = new Looks(deps);
  async function* leases(request: LeaseRequest, options: LeaseOptions, signal: AbortSignal) {
    const lease = deps.parked.open(request, options);
    const wake = () => lease.wake();
    signal.addEventListener("abort", wake);
    try {
      if (request.maxCount > 0) yield* leaseUntilOver(deps, looks, lease, request.waitMs, signal, () => turn++);
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
  nextTurn: () => number,
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
      looking = look(deps, looks, lease, coming, signal, nextTurn)
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
  nextTurn: () => number,
): Promise<number> {
  const { round } = deps.parked;
  // What is only coming cannot be seen yet, and is leased with the commit that brings it. Otherwise looking first costs
  // less than a transaction that finds nothing.
  if (coming > 0 && (await leaseNow(deps, lease, coming, nextTurn()))) return 0;
  const { leasable, dueMs } = await looks.look(lease.command, round);
  // Nobody would ever know what is leased when its caller is gone.
  if (leasable > 0 && !signal.aborted && (await leaseNow(deps, lease, leasable, nextTurn()))) return 0;
  return dueMs;
}

/** Answers whether there was anything. */
async function leaseNow(deps: InvocationDeps, lease: ParkedLease, count: number, turn: number): Promise<boolean> {
  const claim = lease.claim(count);
  if (claim === undefined) {
    // A start has all that is left, and may give some of it back.
    lease.isToLook = true;
    return false;
  }
  const { db, store, clock, announcer, running } = deps;
  const { schedulerId, maxCount, leaseDurationMs } = claim.command;
  let leased: { readonly executions: LeasedExecution[]; readonly changes: Change[] } | undefined;
  try {
    leased = await db.write(async (tx) => {
      const now = clock.now();
      const queues = (await store.leasableQueues(tx)).filter((queue) => isWanted(queue, claim.command));
      const room = queues.map(roomOf);
      const batch = new LeaseBatch(deps, tx, schedulerId, now);
      await batch.takeFairly(queues, room, maxCount, turn);
      const changes = await batch.save();
      if (changes.length > 0) await store.holdScheduler(tx, schedulerId, now, leaseDurationMs);
      return { executions: batch.executions, changes };
    });
  } finally {
    if (leased !== undefined) running.leased(leased.changes.map(({ identity, after }) => ({ identity, life: after })));
    claim.settle(leased?.executions ?? []);
  }
  announcer.changed(leased.changes);
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

/** How many may be leased of it, but for those that wait out a retry delay. */
function roomOf({ queued, slotLimit, used }: QueueRow): number {
  return Math.min(queued, slotLimit - used);
}

function isWanted({ projectId, functionName }: QueueRow, { excludedQueues }: LeaseCommand): boolean {
  return !excludedQueues.has(`${projectId}/${functionName}`);
}

class LeaseBatch {
  readonly executions: LeasedExecution[] = [];
  readonly #deps: InvocationDeps;
  readonly #tx: WriteTransaction;
  readonly #schedulerId: string;
  readonly #now: number;
  readonly #changes: Change[] = [];
  #bytes = 0;
  #isOutOfRoom = false;

  constructor(deps: InvocationDeps, tx: WriteTransaction, schedulerId: string, now: number) {
    this.#deps = deps;
    this.#tx = tx;
    this.#schedulerId = schedulerId;
    this.#now = now;
  }

  get full(): boolean {
    return this.#isOutOfRoom || this.executions.length >= LIMITS.executionsPerLease;
  }

  async takeFairly(
    queues: readonly QueueRow[],
    room: readonly number[],
    maxCount: number,
    first: number,
  ): Promise<void> {
    const open = [...room];
    const taken = room.map(() => 0);
    let left = maxCount;
    for (let isShort = true; isShort && left > 0 && !this.full; ) {
      isShort = false;
      const shares = shareFairly(open, left, first);
      for (const [index, { projectId, functionName }] of queues.entries()) {
        const share = shares[index] ?? 0;
        if (share === 0 || this.full) continue;
        const before = taken[index] ?? 0;
        const { store } = this.#deps;
        const oldest = await store.loadQueued(this.#tx, projectId, functionName, this.#now, before + share);
        const found = oldest.slice(before);
        for (const { invocation, input } of found) if (!this.full) await this.take(invocation, input);
        taken[index] = before + found.length;
        left -= found.length;
        open[index] = (open[index] ?? 0) - found.length;
        if (found.length === share) continue;
        // The rest of this queue waits out a retry delay: others get what it cannot use.
        open[index] = 0;
        isShort = true;
      }
    }
  }

  async take(invocation: StoredInvocation, input: Uint8Array): Promise<void> {
    const { identity, life } = invocation;
    // Its ttl may have passed while nobody swept.
    if (identity.expiresAt !== null && identity.expiresAt <= this.#now && life.startedAt === null) return;
    const known = await this.#deps.functions.load(this.#tx, identity.versionId, identity.functionName);
    const bytes = leasedBytes(known, input.byteLength);
    if (this.#bytes + bytes > LIMITS.leaseBytes && this.executions.length > 0) {
      this.#isOutOfRoom = true;
      return;
    }
    const executionId = this.#deps.ids.next("exe");
    const working = new WorkingSet([invocation]);
    const event = { type: "lease", executionId, schedulerId: this.#schedulerId } as const;
    if (working.apply(identity.id, event, this.#now, known.policy) !== undefined) return;
    const [change] = working.changes();
    if (change === undefined) return;
    this.#changes.push(change);
    this.#bytes += bytes;
    this.executions.push(
      leasedExecution(
        this.#deps.tokens,
        { identity, life: change.after },
        known.spec,
        Arguments.decode(input),
        this.#now,
      ),
    );
  }

  async save(): Promise<Change[]> {
    if (this.#changes.length > 0) await this.#deps.store.save(this.#tx, this.#changes);
    return this.#changes;
  }
}

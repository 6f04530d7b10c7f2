/** LeaseInvocations: hands pending invocations to a scheduler, in one transaction with their slots. */
import type { z } from "zod";
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
import type { LeaseCommand } from "./parked_leases.js";
import { leaseRequest } from "./requests.js";

/** How often a scheduler that waits looks for itself, woken or not. */
const LOOK_INTERVAL_MS = 2_000;

export function leaseHandler(deps: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "leaseInvocations"> {
  // Which queue comes first changes from lease to lease, so that none is always served last.
  let turn = 0;
  const looks = new Looks(deps);
  return {
    async leaseInvocations(message, { signal }) {
      const request = parse(leaseRequest, message);
      deps.parked.begin(request);
      try {
        if (request.maxCount === 0) return { executions: [] };
        return { executions: await leaseOrWait(deps, looks, request, signal, () => turn++) };
      } finally {
        deps.parked.end(request);
      }
    },
  };
}

async function leaseOrWait(
  deps: InvocationDeps,
  looks: Looks,
  request: z.infer<typeof leaseRequest>,
  signal: AbortSignal,
  nextTurn: () => number,
): Promise<LeasedExecution[]> {
  const waitUntil = performance.now() + request.waitMs;
  let coming = false;
  for (;;) {
    const { round } = deps.parked;
    // What is only coming cannot be seen yet, and is leased with the commit that brings it. Otherwise looking first costs
    // less than a transaction that finds nothing.
    if (coming) {
      const executions = await leaseNow(deps, request, nextTurn());
      if (executions.length > 0) return executions;
    }
    const { leasable, dueMs } = await looks.look(request, round);
    if (signal.aborted) return []; // nobody would ever know what is leased now
    if (leasable) {
      const executions = await leaseNow(deps, request, nextTurn());
      if (executions.length > 0) return executions;
    }
    const waitMs = Math.min(LOOK_INTERVAL_MS, waitUntil - performance.now(), dueMs);
    if (waitMs <= 0 || signal.aborted) return [];
    const reason = await deps.parked.wait(request, round, waitMs, signal);
    if (typeof reason !== "string") return [...reason];
    if (reason === "replaced" || reason === "closed" || signal.aborted) return [];
    coming = reason === "coming";
  }
}

async function leaseNow(deps: InvocationDeps, command: LeaseCommand, turn: number): Promise<LeasedExecution[]> {
  const { db, store, clock, announcer, running } = deps;
  const { executions, changes } = await db.write(async (tx) => {
    const now = clock.now();
    const queues = (await store.leasableQueues(tx)).filter((queue) => isWanted(queue, command));
    const room = queues.map(({ queued, slotLimit, used }) => Math.min(queued, slotLimit - used));
    const batch = new LeaseBatch(deps, tx, command.schedulerId, now);
    await batch.takeFairly(queues, room, command.maxCount, turn);
    const changes = await batch.save();
    if (changes.length > 0) await store.holdScheduler(tx, command.schedulerId, now, command.leaseDurationMs);
    return { executions: batch.executions, changes };
  });
  running.leased(changes.map(({ identity, after }) => ({ identity, life: after })));
  announcer.changed(changes);
  return executions;
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
   * Answers whether something may be leased now, and how long until a queued invocation has waited out its retry delay.
   *
   * @param round of the parked leases, read before this is called
   */
  async look(command: LeaseCommand, round: number): Promise<{ leasable: boolean; dueMs: number }> {
    const startedAt = performance.now();
    const { until, dueAt } = this.#nothing;
    const lookAt = Math.min(until, dueAt);
    if (this.#nothing.round === round && startedAt < lookAt) return { leasable: false, dueMs: lookAt - startedAt };
    const { db, store, clock } = this.#deps;
    const { leasable, dueMs, isForAll } = await db.peek(async (tx) => {
      const queues = await store.leasableQueues(tx);
      const wanted = queues.filter((queue) => isWanted(queue, command));
      const due = await store.nextAvailableAt(tx, wanted);
      const dueMs = due === null ? Number.POSITIVE_INFINITY : due - clock.now();
      const leasable = dueMs <= 0;
      return {
        leasable,
        dueMs: leasable ? Number.POSITIVE_INFINITY : dueMs,
        isForAll: !leasable && wanted.length === queues.length,
      };
    });
    if (isForAll) this.#nothing = { round, until: startedAt + LOOK_INTERVAL_MS, dueAt: startedAt + dueMs };
    return { leasable, dueMs };
  }
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

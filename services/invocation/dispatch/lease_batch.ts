/** Leasing of what is queued, within a write. */
import type { LeasedExecution } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { Arguments } from "../../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import type { WriteTransaction } from "../../platform/store/db.js";
import type { InvocationDeps } from "../deps.js";
import { shareFairly } from "../domain/fair_share.js";
import { type Change, type QueueRow, queueName, type StoredInvocation } from "../store.js";
import { WorkingSet } from "../working_set.js";
import { leasedBytes, leasedExecution } from "./leased_execution.js";
import type { Claim, LeaseCommand } from "./parked_leases.js";

export interface LeasedQueued {
  readonly executions: readonly LeasedExecution[];
  readonly changes: readonly Change[];
  /** Whether more is left that this scheduler, or another one, may lease now. */
  readonly isMore: boolean;
  /** Whether this one may. */
  readonly isMoreWanted: boolean;
}

/**
 * Leases from these queues, in the order of their keys, as the same write read them.
 *
 * @param areLocked whether this write has locked all of them before. Default false.
 */
export async function leaseQueued(
  deps: InvocationDeps,
  tx: WriteTransaction,
  command: LeaseCommand,
  queues: readonly QueueRow[],
  areLocked = false,
): Promise<LeasedQueued> {
  const now = deps.clock.now();
  const wanted = queues.filter((queue) => isWanted(queue, command));
  const batch = new LeaseBatch(deps, tx, command.schedulerId, now);
  const isMoreWanted = await batch.takeFairly(wanted, command.maxCount, deps.parked.nextTurn(), areLocked);
  const changes = await batch.save();
  if (changes.length > 0) await deps.store.holdScheduler(tx, command.schedulerId, now, command.leaseDurationMs);
  const isMore = isMoreWanted || wanted.length < queues.length;
  return { executions: batch.executions, changes, isMore, isMoreWanted };
}

/** After the write: what was leased is remembered and delivered; undefined: the write failed. */
export function settleLeased({ running }: InvocationDeps, claim: Claim, leased: LeasedQueued | undefined): void {
  running.leased((leased?.changes ?? []).map(({ identity, after }) => ({ identity, life: after })));
  claim.settle(leased?.executions ?? []);
}

/** How many may be leased of it, but for those that wait out a retry delay. */
export function roomOf({ queued, slotLimit, used }: QueueRow): number {
  return Math.min(queued, slotLimit - used);
}

export function isWanted(queue: QueueRow, { excludedQueues }: LeaseCommand): boolean {
  return !excludedQueues.has(queueName(queue));
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

  /**
   * Answers whether more could be taken.
   *
   * @param areLocked whether this write has locked all of these queues before
   */
  async takeFairly(queues: readonly QueueRow[], maxCount: number, first: number, areLocked: boolean): Promise<boolean> {
    const open = queues.map(roomOf);
    const taken = queues.map(() => 0);
    let left = maxCount;
    const locked = new Set<number>();
    let lastLocked = -1;
    for (let isShort = true; isShort && left > 0 && !this.full; ) {
      isShort = false;
      const shares = shareFairly(open, left, first);
      for (const [index, { projectId, functionName }] of queues.entries()) {
        const share = shares[index] ?? 0;
        if (share === 0 || this.full) continue;
        // They are locked in their order, so that nobody waits in a circle: this one is left to a later lease.
        if (!areLocked && index < lastLocked && !locked.has(index)) continue;
        locked.add(index);
        lastLocked = Math.max(lastLocked, index);
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
    return open.some((left) => left > 0);
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

/**
 * Leases what is being started, for a scheduler that waits: where nothing of its function is queued before it and a slot is
 * free, an invocation is stored as leased at once and never enters the queue.
 */
import type { LeasedExecution } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import type { WriteTransaction } from "../../platform/store/db.js";
import type { InvocationDeps } from "../deps.js";
import { leasedBytes, leasedExecution } from "../dispatch/leased_execution.js";
import type { LeaseCommand } from "../dispatch/parked_leases.js";
import { isQueued, type Life } from "../domain/life.js";
import { advance } from "../domain/transitions.js";
import { type Identity, queueName, type StoredInvocation } from "../store.js";
import type { ResolvedStart } from "./resolve.js";

export class DirectLease {
  readonly executions: LeasedExecution[] = [];
  readonly leased: StoredInvocation[] = [];
  readonly #deps: InvocationDeps;
  readonly #command: LeaseCommand;
  #bytes = 0;

  constructor(deps: InvocationDeps, command: LeaseCommand) {
    this.#deps = deps;
    this.#command = command;
  }

  /** The life to store: leased, or as it is where this scheduler cannot take it. */
  take(start: ResolvedStart, identity: Identity, life: Life, now: number): Life {
    const { maxCount, excludedQueues, schedulerId } = this.#command;
    if (this.executions.length >= maxCount || !isQueued(life)) return life;
    if (excludedQueues.has(queueName(identity))) return life;
    const bytes = leasedBytes(start.known, start.command.encodedArguments.byteLength);
    if (this.#bytes + bytes > LIMITS.leaseBytes && this.executions.length > 0) return life;
    const executionId = this.#deps.ids.next("exe");
    const advanced = advance(life, { type: "lease", executionId, schedulerId }, now, start.known.policy);
    if (typeof advanced === "string") return life;
    const stored = { identity, life: advanced.life };
    this.#bytes += bytes;
    this.leased.push(stored);
    const { arguments: args } = start.command;
    this.executions.push(leasedExecution(this.#deps.tokens, stored, start.known.spec, args, now));
    return advanced.life;
  }

  /** Whether the lease of the scheduler lasts. It is to, whether it then takes anything or not. */
  async isSchedulerHeld(tx: WriteTransaction): Promise<boolean> {
    const { schedulerId, leaseDurationMs } = this.#command;
    return await this.#deps.store.isSchedulerHeld(tx, schedulerId, this.#deps.clock.now(), leaseDurationMs);
  }

  /** After the queues were made and locked. */
  async renewScheduler(tx: WriteTransaction): Promise<void> {
    const { schedulerId, leaseDurationMs } = this.#command;
    await this.#deps.store.renewScheduler(tx, schedulerId, this.#deps.clock.now() + leaseDurationMs);
  }
}

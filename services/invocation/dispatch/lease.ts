/** LeaseInvocations: hands pending invocations to a scheduler, in one transaction with their slots. */
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
import type { Change, StoredInvocation } from "../store.js";
import { WorkingSet } from "../working_set.js";
import { leaseRequest } from "./requests.js";

export function leaseHandler(deps: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "leaseInvocations"> {
  // Which queue comes first changes from lease to lease, so that none is always served last.
  let turn = 0;
  return {
    async leaseInvocations(message) {
      const request = parse(leaseRequest, message);
      const excluded = new Set(request.excludedQueues);
      const { executions, changes, nextDueTimeMs, more } = await deps.db.write(async (tx) => {
        const now = deps.clock.now();
        await deps.store.renewScheduler(tx, request.schedulerId, now + request.leaseDurationMs);
        const queues = (await deps.store.leasableQueues(tx)).filter(
          ({ projectId, functionName }) => !excluded.has(`${projectId}/${functionName}`),
        );
        const room = queues.map(({ queued, slotLimit, used }) => Math.min(queued, slotLimit - used));
        const shares = shareFairly(room, request.maxCount, turn++);
        const batch = new LeaseBatch(deps, tx, request.schedulerId, now);
        for (const [index, { projectId, functionName }] of queues.entries()) {
          const share = shares[index] ?? 0;
          if (share === 0 || batch.full) continue;
          for (const { invocation, input } of await deps.store.loadQueued(tx, projectId, functionName, now, share)) {
            if (!batch.full) await batch.take(invocation, input);
          }
        }
        const changes = await batch.save();
        const due = batch.full ? null : await deps.store.nextAvailableAt(tx, now);
        const more = batch.full || room.reduce((a, b) => a + b, 0) > batch.executions.length;
        return { executions: batch.executions, changes, more, nextDueTimeMs: due ?? undefined };
      });
      deps.announcer.changed(changes);
      return { executions, more: more && executions.length > 0, nextDueTimeMs };
    },
  };
}

class LeaseBatch {
  readonly executions: LeasedExecution[] = [];
  readonly #deps: InvocationDeps;
  readonly #tx: WriteTransaction;
  readonly #schedulerId: string;
  readonly #now: number;
  readonly #changes: Change[] = [];
  #bytes = 0;

  constructor(deps: InvocationDeps, tx: WriteTransaction, schedulerId: string, now: number) {
    this.#deps = deps;
    this.#tx = tx;
    this.#schedulerId = schedulerId;
    this.#now = now;
  }

  get full(): boolean {
    return this.#bytes >= LIMITS.leaseBytes || this.executions.length >= LIMITS.executionsPerLease;
  }

  async take(invocation: StoredInvocation, input: Uint8Array): Promise<void> {
    const { identity, life } = invocation;
    // Its ttl may have passed while nobody swept.
    if (identity.expiresAt !== null && identity.expiresAt <= this.#now && life.attempts === 0) return;
    const known = await this.#deps.functions.load(this.#tx, identity.versionId, identity.functionName);
    const executionId = this.#deps.ids.next("exe");
    const working = new WorkingSet([invocation]);
    const event = { type: "lease", executionId, schedulerId: this.#schedulerId } as const;
    if (working.apply(identity.id, event, this.#now, known.policy) !== undefined) return;
    const [change] = working.changes();
    if (change === undefined) return;
    this.#changes.push(change);
    this.#bytes += input.byteLength + known.encodedSpec.byteLength + 300;
    this.executions.push(leasedExecution(this.#deps, change, known.spec, Arguments.decode(input)));
  }

  async save(): Promise<Change[]> {
    if (this.#changes.length > 0) await this.#deps.store.save(this.#tx, this.#changes);
    return this.#changes;
  }
}

export function leasedExecution(
  deps: InvocationDeps,
  { identity, after }: Pick<Change, "identity" | "after">,
  spec: LeasedExecution["function"],
  args: Arguments,
): LeasedExecution {
  const { current } = after;
  if (current === null) throw new Error(`${identity.id} has no execution`);
  return {
    ref: { executionId: current.id, epoch: current.epoch, invocationId: identity.id },
    attemptNumber: after.attempts,
    projectId: identity.projectId,
    projectName: identity.projectName,
    versionId: identity.versionId,
    function: spec,
    arguments: args,
    parentInvocationId: identity.parentId ?? "",
    executionToken: deps.tokens.issue(identity.id, current.id),
  };
}

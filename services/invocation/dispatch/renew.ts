/** RenewLeases: a scheduler lives, and learns what it is to interrupt. */
import {
  type DispatchServiceImplementation,
  InterruptReason,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { InvocationDeps } from "../deps.js";
import { renewRequest } from "./requests.js";

const REASON = { CANCELLED: InterruptReason.CANCELLED, TIMED_OUT: InterruptReason.TIMED_OUT };

export function renewHandler(deps: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "renewLeases"> {
  return {
    async renewLeases(message) {
      const { schedulerId, leaseDurationMs } = parse(renewRequest, message);
      return await deps.db.write(async (tx) => {
        const now = deps.clock.now();
        const { before } = await deps.store.renewScheduler(tx, schedulerId, now + leaseDurationMs);
        const interruptions = [];
        for (const { identity, life } of await deps.store.loadInterrupted(tx, schedulerId)) {
          const { current } = life;
          if (current === null || current.interrupt === null) continue;
          const known = await deps.functions.load(tx, identity.versionId, identity.functionName);
          interruptions.push({
            ref: { executionId: current.id, epoch: current.epoch, invocationId: identity.id },
            reason: REASON[current.interrupt],
            killAfterMs: (current.interruptedAt ?? now) + known.gracePeriodMs - now,
          });
        }
        return { interruptions, expired: before === null || before < now };
      });
    },
  };
}

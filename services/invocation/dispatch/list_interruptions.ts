/** ListInterruptions: what a scheduler is to interrupt. */
import {
  type DispatchServiceImplementation,
  type Interruption,
  InterruptReason,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { ReadTransaction } from "../../platform/store/db.js";
import type { InvocationDeps } from "../deps.js";
import { listInterruptionsRequest } from "./requests.js";

const REASON = { CANCELLED: InterruptReason.CANCELLED, TIMED_OUT: InterruptReason.TIMED_OUT };

export function listInterruptionsHandler(
  deps: InvocationDeps,
): Pick<DispatchServiceImplementation<Caller>, "listInterruptions"> {
  return {
    async listInterruptions(message) {
      const { schedulerId } = parse(listInterruptionsRequest, message);
      return { interruptions: await deps.db.read((tx) => loadInterruptions(deps, tx, schedulerId)) };
    },
  };
}

/** All that a scheduler is to interrupt, whether or not it was told before. */
export async function loadInterruptions(
  { clock, store, functions }: InvocationDeps,
  tx: ReadTransaction,
  schedulerId: string,
): Promise<Interruption[]> {
  const now = clock.now();
  const interruptions: Interruption[] = [];
  for (const { identity, life } of await store.loadInterrupted(tx, schedulerId)) {
    const { current } = life;
    if (current === null || current.interrupt === null) continue;
    const { gracePeriodMs } = await functions.load(tx, identity.versionId, identity.functionName);
    interruptions.push({
      ref: { executionId: current.id, epoch: current.epoch, invocationId: identity.id },
      reason: REASON[current.interrupt],
      killAfterMs: (current.interruptedAt ?? now) + gracePeriodMs - now,
    });
  }
  return interruptions;
}

/** RenewLeases: a scheduler lives, and learns what it is to interrupt. */
import type { DispatchServiceImplementation } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { InvocationDeps } from "../deps.js";
import { loadInterruptions } from "./list_interruptions.js";
import { renewRequest } from "./requests.js";

export function renewHandler(deps: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "renewLeases"> {
  return {
    async renewLeases(message) {
      const { schedulerId, leaseDurationMs } = parse(renewRequest, message);
      return await deps.db.write(async (tx) => {
        const now = deps.clock.now();
        const before = await deps.store.renewScheduler(tx, schedulerId, now + leaseDurationMs);
        const interruptions = await loadInterruptions(deps, tx, schedulerId);
        return { interruptions, expired: before === null || before < now };
      });
    },
  };
}

/** ListLeases: what a scheduler holds, so that it can compare it with its workers. */
import type { DispatchServiceImplementation } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { InvocationDeps } from "../deps.js";
import { listLeasesRequest } from "./requests.js";

export function listLeasesHandler({
  db,
  store,
}: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "listLeases"> {
  return {
    async listLeases(message) {
      const { schedulerId } = parse(listLeasesRequest, message);
      return await db.read(async (tx) => {
        const leases = [];
        for (const { identity, life } of await store.loadLeased(tx, schedulerId)) {
          const { current } = life;
          if (current === null) continue;
          const ref = { executionId: current.id, epoch: current.epoch, invocationId: identity.id };
          leases.push({ ref, workerId: current.workerId, ended: false });
        }
        for (const { id, epoch, invocationId, workerId } of await store.loadHeldEnded(tx, schedulerId)) {
          leases.push({ ref: { executionId: id, epoch, invocationId }, workerId, ended: true });
        }
        return { leases };
      });
    },
  };
}

/** FindOwners: which living scheduler has a worker. */
import type { DispatchServiceImplementation } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { ReadTransaction } from "../../platform/store/db.js";
import type { InvocationDeps } from "../deps.js";
import { findOwnersRequest } from "./requests.js";

export function findOwnersHandler({
  db,
  store,
  clock,
}: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "findOwners"> {
  return {
    async findOwners(message) {
      const { schedulerId: caller, workers } = parse(findOwnersRequest, message);
      return await db.read(async (tx) => {
        const living = await store.livingSchedulers(tx, clock.now());
        const isOthers = (starter: string) => starter !== caller && living.includes(starter);
        // What the living hold is read only for a worker whose own scheduler cannot speak for it.
        const holders = workers.every(({ schedulerId }) => isOthers(schedulerId))
          ? new Map()
          : await holdersOf(tx, living);
        const schedulerIds = workers.map(({ workerId, schedulerId: starter }) => {
          if (isOthers(starter)) return starter;
          return holders.get(workerId) ?? (living.includes(starter) ? starter : "");
        });
        return { schedulerIds };
      });
    },
  };

  /** The scheduler that holds what runs in a worker. What has ended says nothing: the worker may have moved on since. */
  async function holdersOf(tx: ReadTransaction, living: readonly string[]): Promise<Map<string, string>> {
    const holders = new Map<string, string>();
    for (const schedulerId of living) {
      for (const { life } of await store.loadLeased(tx, schedulerId)) {
        if (life.current !== null) holders.set(life.current.workerId, schedulerId);
      }
    }
    return holders;
  }
}

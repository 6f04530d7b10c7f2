/** GetInvocation: one invocation with its executions. */
import type { InvocationServiceImplementation } from "../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import { requested } from "../access.js";
import { toInvocation } from "../convert.js";
import type { InvocationDeps } from "../deps.js";
import { getRequest } from "../requests.js";

export function getHandler({
  db,
  store,
}: InvocationDeps): Pick<InvocationServiceImplementation<Caller>, "getInvocation"> {
  return {
    async getInvocation(message, { principal }) {
      const request = parse(getRequest, message);
      return await db.read(async (tx) => {
        const [stored] = await store.load(tx, [request.invocationId]);
        const invocation = requested(stored, request, principal);
        return { invocation: toInvocation(invocation, await store.loadEnded(tx, request.invocationId)) };
      });
    },
  };
}

/** CancelInvocation: an invocation and all of its unfinished descendants. */
import type { InvocationServiceImplementation } from "../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { Refusal } from "../../platform/errors.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import { requested } from "../access.js";
import { cancelAll, cancelDescendants, continueCascade } from "../cancelling.js";
import { toSummary } from "../convert.js";
import type { InvocationDeps } from "../deps.js";
import { isFinished } from "../domain/life.js";
import { cancelRequest } from "../requests.js";

export function cancelHandler(deps: InvocationDeps): Pick<InvocationServiceImplementation<Caller>, "cancelInvocation"> {
  return {
    async cancelInvocation(message, { principal }) {
      const request = parse(cancelRequest, message);
      const { invocation, changes, isParent } = await deps.db.write(async (tx) => {
        const [stored] = await deps.store.load(tx, [request.invocationId]);
        const invocation = requested(stored, request, principal);
        if (invocation.life.terminated) throw alreadyTerminated(request.invocationId);
        // What has ended by itself leaves its children running, also while its worker is still there.
        if (isFinished(invocation.life) && invocation.life.cancelRequestedAt === null)
          return { invocation, changes: [], isParent: false };
        const own = await cancelAll(deps, tx, [invocation]);
        const [change] = own;
        const descendants = await cancelDescendants(deps, tx, request.invocationId);
        return {
          invocation: change === undefined ? invocation : { identity: change.identity, life: change.after },
          changes: [...own, ...(descendants ?? [])],
          isParent: descendants !== undefined,
        };
      });
      deps.announcer.changed(changes);
      // The answer comes when the whole tree is cancelled; were this process to end before, the sweeper goes on.
      if (isParent) while (await continueCascade(deps, request.invocationId));
      return { invocation: toSummary(invocation) };
    },
  };
}

function alreadyTerminated(invocationId: string): Refusal {
  return new Refusal("InvocationIsAlreadyTerminated", `invocation "${invocationId}" is already terminated`, {
    metadata: { invocationId },
  });
}

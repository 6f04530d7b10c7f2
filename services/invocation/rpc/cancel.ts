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

/** How long an answer waits for the rest of a large tree, so that it comes before it is asked for again. */
const WHOLE_TREE_MS = 2_000;

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
      // The answer comes when the whole tree is cancelled, or after a while; with what is left the sweeper goes on.
      const until = performance.now() + WHOLE_TREE_MS;
      if (isParent) while ((await continueCascade(deps, request.invocationId)) && performance.now() < until);
      return { invocation: toSummary(invocation) };
    },
  };
}

function alreadyTerminated(invocationId: string): Refusal {
  return new Refusal("InvocationIsAlreadyTerminated", `invocation "${invocationId}" is already terminated`, {
    metadata: { invocationId },
  });
}

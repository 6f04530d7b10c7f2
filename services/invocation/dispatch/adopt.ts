/** AdoptExecutions: executions whose worker has come to another scheduler. */
import type { DispatchServiceImplementation } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { Arguments } from "../../../gen/multinode/type/v1/payload.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { InvocationDeps } from "../deps.js";
import type { Change } from "../store.js";
import { leasedExecution } from "./leased_execution.js";
import { adoptRequest } from "./requests.js";

export function adoptHandler(deps: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "adoptExecutions"> {
  return {
    async adoptExecutions(message) {
      const { schedulerId, leaseDurationMs, executions: asked } = parse(adoptRequest, message);
      return await deps.db.write(async (tx) => {
        await deps.store.renewScheduler(tx, schedulerId, deps.clock.now() + leaseDurationMs);
        const executions = [];
        const changes: Change[] = [];
        for (const { executionToken } of asked) {
          const named = deps.tokens.verify(executionToken);
          if (named === undefined) continue;
          const [stored] = await deps.store.load(tx, [named.invocationId]);
          const current = stored?.life.current;
          if (stored === undefined || !current || current.id !== named.executionId) continue;
          const { identity, life } = stored;
          // A new epoch fences the scheduler that held it before.
          const adopted = { ...current, schedulerId, epoch: current.epoch + 1 };
          const after = { ...life, revision: life.revision + 1, current: adopted };
          changes.push({ identity, before: life, after, ended: [], released: [] });
          const known = await deps.functions.load(tx, identity.versionId, identity.functionName);
          const input = await deps.store.loadInput(tx, identity.id);
          executions.push(leasedExecution(deps.tokens, { identity, life: after }, known.spec, Arguments.decode(input)));
        }
        await deps.store.save(tx, changes);
        return { executions };
      });
    },
  };
}

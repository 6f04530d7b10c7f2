/** AdoptExecutions: executions whose worker has come to another scheduler. */
import type {
  DispatchServiceImplementation,
  LeasedExecution,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { InvocationDeps } from "../deps.js";
import type { CurrentExecution } from "../domain/life.js";
import type { Change } from "../store.js";
import { leasedExecution } from "./leased_execution.js";
import { adoptRequest } from "./requests.js";

export function adoptHandler(deps: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "adoptExecutions"> {
  const { db, store, functions, tokens, clock, announcer } = deps;
  return {
    async adoptExecutions(message) {
      const { schedulerId, leaseDurationMs, executions: asked } = parse(adoptRequest, message);
      const named = asked.flatMap(({ executionToken, workerId }) => {
        const token = tokens.verify(executionToken);
        return token === undefined ? [] : [{ ...token, workerId }];
      });
      const invocationIds = [...new Set(named.map(({ invocationId }) => invocationId))];
      const { executions, changes } = await db.write(async (tx) => {
        await store.renewScheduler(tx, schedulerId, clock.now() + leaseDurationMs);
        const loaded = new Map((await store.load(tx, invocationIds)).map((found) => [found.identity.id, found]));
        const executions: LeasedExecution[] = [];
        const changes: Change[] = [];
        const logs = await store.logStates(
          tx,
          named.map(({ executionId }) => executionId),
        );
        const logOf = new Map(logs.map((log) => [log.executionId, log]));
        let before = "";
        for (const { invocationId, executionId, workerId } of named) {
          const stored = loaded.get(invocationId);
          const current = stored?.life.current;
          if (stored === undefined || !current || current.id !== executionId) continue;
          const { identity, life } = stored;
          const adopted = adopt(current, schedulerId, workerId);
          const after = adopted === current ? life : { ...life, revision: life.revision + 1, current: adopted };
          if (after !== life) changes.push({ identity, before: life, after, ended: [], released: [] });
          const { spec } = await functions.load(tx, identity.versionId, identity.functionName);
          const log = logOf.get(executionId);
          const execution = {
            ...leasedExecution(tokens, { identity, life: after }, spec, undefined, clock.now()),
            lastLogLine: log?.lastLine,
            printedLogLines: log?.printedLines,
          };
          // A worker brings up to a thousand, all of one function.
          const fn = `${identity.versionId}/${identity.functionName}`;
          executions.push(fn === before ? { ...execution, function: undefined } : execution);
          before = fn;
        }
        await store.save(tx, changes);
        return { executions, changes };
      });
      announcer.changed(changes);
      return { executions };
    },
  };
}

/** A new epoch fences the scheduler that held it before. Whoever holds it already keeps it as it is. */
function adopt(current: CurrentExecution, schedulerId: string, workerId: string): CurrentExecution {
  const worker = workerId === "" ? current.workerId : workerId;
  const isHeld = current.schedulerId === schedulerId;
  if (isHeld && current.workerId === worker) return current;
  return { ...current, schedulerId, workerId: worker, epoch: isHeld ? current.epoch : current.epoch + 1 };
}

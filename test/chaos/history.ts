/** What the client of a chaos test saw, one event for each line of a file. The checker needs nothing else. */
import { appendFileSync } from "node:fs";
import type { Invocation } from "../../sdk/typescript/src/invocation.js";

export interface SeenExecution {
  readonly attemptNumber: number;
  readonly outcome: string | undefined;
  readonly error: string | undefined;
  readonly terminated: boolean;
}

/** An invocation as it was seen. Times are UTC milliseconds. */
export interface SeenInvocation {
  readonly id: string;
  readonly functionName: string;
  readonly parentId: string | undefined;
  readonly status: string;
  /** JSON; absent: undefined. */
  readonly result: string | undefined;
  readonly error: string | undefined;
  readonly terminated: boolean;
  readonly numFailedAttempts: number;
  readonly finishedAtMs: number | undefined;
  readonly revision: number;
  /** Absent where they were not asked for. */
  readonly executions: readonly SeenExecution[] | undefined;
}

export type HistoryEvent =
  /** A start was acknowledged. `key`: its idempotency key. */
  | {
      readonly type: "started";
      readonly id: string;
      readonly functionName: string;
      readonly n: number;
      readonly key?: string | undefined;
    }
  /** A start was not acknowledged: it may have happened or not. */
  | { readonly type: "unacknowledged"; readonly functionName: string; readonly error: string }
  /** A cancellation was acknowledged. */
  | { readonly type: "cancelled"; readonly id: string }
  | { readonly type: "seen"; readonly invocation: SeenInvocation }
  /** The server said that there is no such invocation. */
  | { readonly type: "missing"; readonly id: string; readonly error: string }
  | { readonly type: "killed"; readonly round: number }
  /** The end of the test: what follows is seen when everything should be over. */
  | { readonly type: "healed" }
  /** All invocations that the server lists of a function. */
  | { readonly type: "listed"; readonly functionName: string; readonly ids: readonly string[] }
  | { readonly type: "queue"; readonly functionName: string; readonly used: number; readonly queued: number }
  /** A process or a record of one that is left after the server has stopped. */
  | { readonly type: "leftOver"; readonly what: string };

export class History {
  readonly file: string;
  readonly events: HistoryEvent[] = [];

  constructor(file: string) {
    this.file = file;
  }

  add(event: HistoryEvent): void {
    this.events.push(event);
    appendFileSync(this.file, `${JSON.stringify(event)}\n`);
  }

  saw(invocation: Invocation, detail: "with executions" | "without executions"): void {
    this.add({ type: "seen", invocation: seen(invocation, detail) });
  }
}

function seen(invocation: Invocation, detail: "with executions" | "without executions"): SeenInvocation {
  const { id, functionName, status, error, terminated, numFailedAttempts, revision } = invocation;
  return {
    id,
    functionName,
    parentId: invocation.parentInvocationId,
    status,
    result: invocation.result === undefined ? undefined : JSON.stringify(invocation.result),
    error,
    terminated,
    numFailedAttempts,
    finishedAtMs: invocation.finishedAt?.getTime(),
    revision,
    executions:
      detail === "without executions"
        ? undefined
        : invocation.executions.map(({ attemptNumber, outcome, error: failure, terminated: isOver }) => ({
            attemptNumber,
            outcome,
            error: failure,
            terminated: isOver,
          })),
  };
}

/** A watch for `for await`: what was not read yet, of each status the newest. */
import type { Invocation } from "../invocation.js";
import type { InvocationCheck, WatchHandle, WatchSink, WatchUntil } from "./invocation_client.js";
import { invocationDoesNotExist, isWhatIsAskedFor } from "./invocation_result.js";
import { isEnd } from "./watch_target.js";

/**
 * Yields the states that `follow` tells, up to the one that ends the watch. Yields that come faster than the reader reads
 * replace each other; what has another status, or is of another attempt, does not. So memory is bounded by the attempts.
 */
export async function* latestStates(
  follow: (sink: WatchSink) => WatchHandle,
  until: WatchUntil,
  signal: AbortSignal | undefined,
  check: InvocationCheck | undefined,
): AsyncGenerator<Invocation, void, undefined> {
  signal?.throwIfAborted();
  const unread: Invocation[] = [];
  let failure: Error | undefined;
  let wake: (() => void) | undefined;
  const handle = follow({
    changed(invocation) {
      const last = unread.at(-1);
      if (last !== undefined && isOfSameStage(last, invocation)) unread.pop();
      unread.push(invocation);
      wake?.();
    },
    unwatchable(error) {
      failure = error;
      wake?.();
    },
  });
  const onAbort = () => wake?.();
  signal?.addEventListener("abort", onAbort);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const state = unread.shift();
      if (state !== undefined) {
        if (!isWhatIsAskedFor(state, check)) throw invocationDoesNotExist(state.id);
        yield state;
        if (isEnd(state, until)) return;
        continue;
      }
      // A failure comes after every state that was told before it.
      if (failure !== undefined) throw failure as Error;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      wake = undefined;
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    handle.close();
  }
}

/** Whether nothing but the result has changed. */
function isOfSameStage(a: Invocation, b: Invocation): boolean {
  return a.status === b.status && a.numFailedAttempts === b.numFailedAttempts && a.terminated === b.terminated;
}

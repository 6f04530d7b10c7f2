/** A watch for `for await`: one slot, which always holds the newest state that was not read. */
import type { Invocation } from "./invocation.js";
import type { WatchHandle, WatchSink, WatchUntil } from "./invocation_client.js";
import { isEnd } from "./watch_target.js";

/**
 * Yields the states that `follow` tells, up to the one that ends the watch. States that come faster than the reader reads
 * replace each other, so memory is constant and the last state always comes.
 */
export async function* latestStates(
  follow: (sink: WatchSink) => WatchHandle,
  until: WatchUntil,
  signal: AbortSignal | undefined,
): AsyncGenerator<Invocation, void, undefined> {
  signal?.throwIfAborted();
  let slot: Invocation | undefined;
  let failure: Error | undefined;
  let wake: (() => void) | undefined;
  const handle = follow({
    changed(invocation) {
      slot = invocation;
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
      const state: Invocation | undefined = slot;
      slot = undefined;
      if (state !== undefined) {
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

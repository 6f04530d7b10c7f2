/** Waiting for states, each with a bound. */
import { setTimeout as delay } from "node:timers/promises";
import type { Invocation } from "../../sdk/typescript/src/index.js";

/** How late may come what a busy machine has to do: far from at once, and far from not at all. */
export const LATE_MS = 10_000;
/** Longest wait for any state. */
const STATE_TIMEOUT_MS = 20_000;
const PROBE_INTERVAL_MS = 20;

/** The part of a function's handle that waiting needs. */
interface Watchable<R> {
  watch(
    invocationId: string,
    options: { until: "terminated"; signal: AbortSignal },
  ): AsyncGenerator<Invocation<R>, void, undefined>;
  get(invocationId: string): Promise<Invocation<R>>;
}

/** The first state that `isWanted`. Rejects when the invocation terminates, or 20 s pass, without it. */
export async function untilState<R>(
  fn: Watchable<R>,
  invocationId: string,
  isWanted: (invocation: Invocation<R>) => boolean,
): Promise<Invocation<R>> {
  const signal = AbortSignal.timeout(STATE_TIMEOUT_MS);
  let last: Invocation<R> | undefined;
  try {
    for await (const invocation of fn.watch(invocationId, { until: "terminated", signal })) {
      last = invocation;
      if (isWanted(invocation)) return invocation;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  throw new Error(`the wanted state of ${invocationId} never came; the last one was ${JSON.stringify(last)}`);
}

export function untilStatus<R>(
  fn: Watchable<R>,
  invocationId: string,
  status: Invocation["status"],
): Promise<Invocation<R>> {
  return untilState(fn, invocationId, (invocation) => invocation.status === status);
}

/** The invocation with its executions, once it is terminated. */
export async function untilTerminated<R>(fn: Watchable<R>, invocationId: string): Promise<Invocation<R>> {
  await untilState(fn, invocationId, ({ terminated }) => terminated);
  return fn.get(invocationId);
}

/** What `probe` answers once that `isGood`. Rejects, with the last answer, after 20 s. */
export async function eventually<T>(probe: () => Promise<T> | T, isGood: (value: T) => boolean): Promise<T> {
  const endMs = performance.now() + STATE_TIMEOUT_MS;
  for (;;) {
    const value = await probe();
    if (isGood(value)) return value;
    if (performance.now() > endMs) throw new Error(`it never came; the last value was ${JSON.stringify(value)}`);
    await delay(PROBE_INTERVAL_MS);
  }
}

/** The error that a promise rejects with. */
export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not reject");
}

/** Loads that go on for ever, in a client and a server that must not grow with them. */
import { setTimeout as delay } from "node:timers/promises";
import { WatchDetail, WatchUntil } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { MultinodeClient } from "../../sdk/typescript/src/client/client.js";
import type { DeployedProject, TargetAddress } from "../harness/connected_target.js";

/** Runs for so long; answers what it did, for people. */
export type EndlessLoad = (project: DeployedProject, address: TargetAddress, durationMs: number) => Promise<string>;

const INPUT_LENGTH = 1_000;
/** Almost the largest payload: the limit counts the quotes. */
const YIELD_LENGTH = 249_900;
const YIELD_INTERVAL_MS = 250;
/** So many that a server that keeps what they do not read is found out within seconds. */
const CONNECTIONS = 4;
const WATCHERS_PER_CONNECTION = 5;

/** `map` over an input that never ends. */
export const endlessMap: EndlessLoad = async (project, _address, durationMs) => {
  const endsAt = performance.now() + durationMs;
  let count = 0;
  for await (const _text of project.fn<(text: string) => string>("echo").map(endlessTexts(), { cancelRest: true })) {
    count += 1;
    if (performance.now() >= endsAt) break;
  }
  return `${count} results`;
};

/** Watchers that read one message and then no more, of a function that yields a megabyte a second. */
export const neverReadWatches: EndlessLoad = async (project, { apiUrl, apiKey }, durationMs) => {
  const flood = project.fn<(length: number, intervalMs: number) => string>("flood");
  const id = await flood.start(YIELD_LENGTH, YIELD_INTERVAL_MS);
  const clients = Array.from({ length: CONNECTIONS }, () => new MultinodeClient({ apiUrl, apiKey }));
  const ended = new AbortController();
  const states = flood.watch(id);
  await states.next();
  const streams = clients.flatMap((client) =>
    Array.from({ length: WATCHERS_PER_CONNECTION }, () =>
      client.invocations.watchInvocations(watchOf(id, ended.signal), { signal: ended.signal })[Symbol.asyncIterator](),
    ),
  );
  for (const stream of streams) await stream.next();
  await delay(durationMs);
  const { result } = await flood.get(id);
  await flood.cancel(id);
  ended.abort();
  await Promise.allSettled(streams.map((stream) => stream.next()));
  await states.return();
  for (const client of clients) await client.close();
  return `${Number.parseInt(String(result), 10) + 1} yields, ${streams.length + 1} watchers`;
};

function* endlessTexts(): Generator<string> {
  for (let i = 0; ; i++) yield String(i).padEnd(INPUT_LENGTH, ".");
}

/** One request, and then an open stream. */
async function* watchOf(invocationId: string, signal: AbortSignal) {
  const target = { invocationId, afterRevision: 0, detail: WatchDetail.CHANGES, until: WatchUntil.FINISHED };
  yield { add: [target], remove: [] };
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** WatchInvocations: one stream that follows any number of invocations. */
import type {
  InvocationServiceImplementation,
  WatchInvocationsRequest,
} from "../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import { invocationDoesNotExist, maySee } from "../access.js";
import type { InvocationDeps } from "../deps.js";
import { watchRequest } from "../requests.js";
import { WatchSession } from "../watch_session.js";

/** How often a watcher looks at all of its invocations, hints or not. */
const LOOK_INTERVAL_MS = 5_000;

export function watchHandler({
  db,
  store,
  hub,
  running,
}: InvocationDeps): Pick<InvocationServiceImplementation<Caller>, "watchInvocations"> {
  return {
    async *watchInvocations(requests, { principal, signal }) {
      const session = new WatchSession(hub, {
        known: (id) => running.get(id),
        load: (ids) => db.read((tx) => store.load(tx, ids)),
        refusal: (stored) => (maySee(principal, stored) ? undefined : invocationDoesNotExist(stored.identity.id)),
      });
      const reader = new RequestReader(requests, session);
      try {
        let quietSince = performance.now();
        let lookedAt = quietSince;
        while (!signal.aborted) {
          const message = session.hasWork ? await session.next() : undefined;
          if (message !== undefined) {
            yield message;
            quietSince = performance.now();
            continue;
          }
          const quietMs = performance.now() - quietSince;
          if (quietMs >= LIMITS.heartbeatIntervalMs) {
            yield { invocations: [], refusals: [] };
            quietSince = performance.now();
            continue;
          }
          if (session.hasWork) continue;
          reader.throwIfFailed();
          if (reader.closed && session.size === 0) return;
          await session.wait(Math.min(LOOK_INTERVAL_MS, LIMITS.heartbeatIntervalMs - quietMs), signal);
          const now = performance.now();
          if (now - lookedAt >= LOOK_INTERVAL_MS) {
            lookedAt = now;
            session.markAll();
          }
        }
      } finally {
        session.close();
      }
    },
  };
}

/** Takes in what the watcher asks for, while the stream is being written. */
class RequestReader {
  closed = false;
  #error: unknown;

  constructor(requests: AsyncIterable<WatchInvocationsRequest>, session: WatchSession) {
    void this.#read(requests, session);
  }

  throwIfFailed(): void {
    if (this.#error !== undefined) throw this.#error;
  }

  async #read(requests: AsyncIterable<WatchInvocationsRequest>, session: WatchSession): Promise<void> {
    try {
      for await (const message of requests) {
        const { add, remove } = parse(watchRequest, message);
        for (const target of add) session.add(target as (typeof message.add)[number]);
        for (const id of remove) session.remove(id);
      }
    } catch (error) {
      this.#error = error;
    }
    this.closed = true;
    session.wake();
  }
}

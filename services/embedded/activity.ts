/** What happens on the server, in lines for people. */
import { createSqlStore } from "../invocation/sql/store.js";
import type { InvocationStore } from "../invocation/store.js";
import type { Bus } from "../platform/bus/bus.js";
import type { Db } from "../platform/store/db.js";

/** Finished invocations that one event tells of one by one; more are counted. */
const MOST_LINES = 5;

/** Answers what ends the telling. */
export function tellActivity(bus: Bus, db: Db, tell: (line: string) => void): () => void {
  const store = createSqlStore();
  /** Finished and told, and still to terminate. */
  const ending = new Set<string>();
  const unsubscribes = [
    bus.subscribe("project", (event) => {
      if (event.$case === "project") tell(`project ${event.value.projectName} changed`);
    }),
    bus.subscribe("invocation", (event) => {
      if (event.$case !== "invocations") return;
      const ended: string[] = [];
      for (const { invocationId, finished, terminated } of event.value.invocations) {
        if (!finished) continue;
        if (!ending.has(invocationId)) ended.push(invocationId);
        if (terminated) ending.delete(invocationId);
        else ending.add(invocationId);
      }
      void tellEnds(db, store, ended, tell);
    }),
  ];
  return () => {
    for (const unsubscribe of unsubscribes) unsubscribe();
  };
}

async function tellEnds(
  db: Db,
  store: InvocationStore,
  ids: readonly string[],
  tell: (line: string) => void,
): Promise<void> {
  if (ids.length > MOST_LINES) {
    tell(`${ids.length} invocations ended`);
    return;
  }
  if (ids.length === 0) return;
  try {
    for (const { identity, life } of await db.read((tx) => store.load(tx, ids))) {
      const ran =
        life.startedAt === null || life.finishedAt === null ? "" : ` in ${life.finishedAt - life.startedAt} ms`;
      const error = life.error === "" ? "" : `: ${life.error.split("\n")[0]}`;
      tell(`${identity.functionName} ${identity.id} ${life.status}${ran}${error}`);
    }
  } catch {
    // The server is stopping.
  }
}

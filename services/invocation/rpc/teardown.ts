/** CancelProject and PurgeProject: the end of a project's invocations. */

import { z } from "zod";
import type { TeardownServiceImplementation } from "../../../gen/multinode/invocation/v1/teardown_service.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { idField, parse } from "../../platform/rpc/validation.js";
import { cancelAll } from "../cancelling.js";
import type { InvocationDeps } from "../deps.js";

const CANCEL_CHUNK = 500;
/** What one write removes: it must not hold up others for long, nor take longer than the database lets it. */
const PURGE_CHUNK = { invocations: 1_000, rows: 10_000 };

const projectRequest = z.object({ projectId: idField("prj") });

export function teardownHandlers(deps: InvocationDeps): TeardownServiceImplementation<Caller> {
  const { db, store, announcer } = deps;
  return {
    async cancelProject(message) {
      const { projectId } = parse(projectRequest, message);
      // On its own: what began before it is stored afterwards, and is found.
      await db.write((tx) => store.cancelProject(tx, projectId));
      for (;;) {
        const { changes, terminated } = await db.write(async (tx) => {
          const unfinished = await store.loadUncancelledOfProject(tx, projectId, CANCEL_CHUNK);
          const changes = await cancelAll(deps, tx, unfinished);
          return { changes, terminated: await store.isProjectTerminated(tx, projectId) };
        });
        announcer.changed(changes);
        if (changes.length < CANCEL_CHUNK) return { terminated };
      }
    },

    async purgeProject(message) {
      const { projectId } = parse(projectRequest, message);
      const more = await db.write((tx) => store.purgeProject(tx, projectId, PURGE_CHUNK));
      return { done: !more };
    },
  };
}

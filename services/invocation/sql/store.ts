/** The store of the invocation service, in SQL common to SQLite and PostgreSQL. */
import type { InvocationStore } from "../store.js";
import { changeMethods } from "./changes.js";
import { ensureFunctions } from "./ensure_functions.js";
import { Keys } from "./keys.js";
import { list } from "./list.js";
import * as logs from "./logs.js";
import * as projects from "./projects.js";
import * as purge from "./purge.js";
import * as queues from "./queues.js";
import { readMethods } from "./reads.js";

export function createSqlStore(): InvocationStore {
  const keys = new Keys();
  return {
    ...changeMethods(keys),
    ...readMethods(keys),
    ...queues,
    ...projects,
    ...purge,
    ...logs,
    list: list.bind(undefined, keys),
    ensureFunctions: ensureFunctions.bind(undefined, keys),
    nextAvailableAt: queues.nextAvailableAt.bind(undefined, keys),
    loadQueued: queues.loadQueued.bind(undefined, keys),
    loadLeased: queues.loadLeased.bind(undefined, keys),
    loadInterrupted: queues.loadInterrupted.bind(undefined, keys),
    loadExpired: queues.loadExpired.bind(undefined, keys),
    loadPastDeadline: queues.loadPastDeadline.bind(undefined, keys),
    loadSpec: projects.loadSpec.bind(undefined, keys),
  };
}

/** The store of the invocation service, in SQL common to SQLite and PostgreSQL. */
import type { InvocationStore } from "../store.js";
import * as changes from "./changes.js";
import * as logs from "./logs.js";
import * as projects from "./projects.js";
import * as queues from "./queues.js";
import * as reads from "./reads.js";

const { allIn: _allIn, loadLargeInput: _loadLargeInput, ...readMethods } = reads;

export const sqlStore: InvocationStore = { ...changes, ...readMethods, ...queues, ...projects, ...logs };

/**
 * The tables of the invocation service.
 *
 * `invocations` holds the current execution in its own row, and keeps the one that it ended with, which has an outcome; so
 * the way of a call touches one row. `executions` holds all others that have ended. Functions and queues are named in it by short keys (keys.ts), which keeps rows and indexes small.
 * Statuses and causes are the numbers of codes.ts. Partial indexes keep the queue, the deadlines and the leases as small
 * as what is unfinished, whatever is stored.
 */
import type { Migration } from "../../platform/store/db.js";
import { FIRST_FINISHED_CODE } from "./codes.js";
import { HAS_CURRENT, INLINE_BYTES } from "./rows.js";

export const MIGRATIONS: readonly Migration[] = [
  {
    name: "invocation-1",
    statements: ({ bytes, integer, clustered }) => [
      `CREATE TABLE invocations (
        id TEXT NOT NULL PRIMARY KEY,
        function_key ${integer} NOT NULL,
        queue_key ${integer} NOT NULL,
        parent_id TEXT,
        depth ${integer} NOT NULL,
        children ${integer} NOT NULL DEFAULT 0,
        input ${bytes},
        created_at ${integer} NOT NULL,
        expires_at ${integer},
        status ${integer} NOT NULL DEFAULT 1,
        revision ${integer} NOT NULL DEFAULT 1,
        attempts ${integer} NOT NULL DEFAULT 0,
        failed_attempts ${integer} NOT NULL DEFAULT 0,
        held ${integer} NOT NULL DEFAULT 0,
        terminated ${integer} NOT NULL DEFAULT 0,
        result ${bytes},
        error TEXT NOT NULL DEFAULT '',
        started_at ${integer},
        finished_at ${integer},
        cancel_requested_at ${integer},
        available_at ${integer} NOT NULL DEFAULT 0,
        execution_id TEXT,
        epoch ${integer},
        scheduler_id TEXT,
        worker_id TEXT,
        execution_created_at ${integer},
        execution_started_at ${integer},
        deadline_at ${integer},
        interrupt ${integer},
        interrupted_at ${integer},
        yield_index ${integer},
        outcome ${integer}
      ) ${clustered}`,
      "CREATE INDEX invocations_of_queue ON invocations (queue_key, id)",
      `CREATE INDEX invocations_queued ON invocations (queue_key, available_at, id)
        WHERE status = 1 AND execution_id IS NULL`,
      "CREATE INDEX invocations_of_parent ON invocations (parent_id, id) WHERE parent_id IS NOT NULL",
      `CREATE INDEX invocations_expiring ON invocations (expires_at)
        WHERE expires_at IS NOT NULL AND status = 1 AND attempts = 0`,
      `CREATE INDEX invocations_deadline ON invocations (deadline_at)
        WHERE deadline_at IS NOT NULL AND interrupt IS NULL`,
      `CREATE INDEX invocations_leased ON invocations (scheduler_id) WHERE ${HAS_CURRENT}`,
      `CREATE TABLE idempotency_keys (
        project_id TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        invocation_id TEXT NOT NULL,
        body_hash ${bytes} NOT NULL,
        created_at ${integer} NOT NULL,
        PRIMARY KEY (project_id, idempotency_key)
      )`,
      "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)",
      `CREATE TABLE large_inputs (
        invocation_id TEXT NOT NULL PRIMARY KEY,
        input ${bytes} NOT NULL
      )`,
      `CREATE TABLE executions (
        invocation_id TEXT NOT NULL,
        attempt ${integer} NOT NULL,
        id TEXT NOT NULL,
        epoch ${integer} NOT NULL,
        scheduler_id TEXT NOT NULL,
        worker_id TEXT NOT NULL,
        outcome ${integer} NOT NULL,
        error TEXT NOT NULL,
        created_at ${integer} NOT NULL,
        started_at ${integer},
        finished_at ${integer} NOT NULL,
        held ${integer} NOT NULL,
        PRIMARY KEY (invocation_id, attempt)
      ) ${clustered}`,
      "CREATE INDEX executions_held ON executions (scheduler_id) WHERE held = 1",
      `CREATE TABLE queues (
        queue_key ${integer} NOT NULL PRIMARY KEY,
        project_id TEXT NOT NULL,
        function_name TEXT NOT NULL,
        slot_limit ${integer} NOT NULL,
        limit_version TEXT NOT NULL,
        used ${integer} NOT NULL CHECK (used >= 0),
        queued ${integer} NOT NULL CHECK (queued >= 0)
      )`,
      "CREATE INDEX queues_of_project ON queues (project_id)",
      "CREATE INDEX queues_waiting ON queues (queue_key) WHERE queued > 0",
      `CREATE TABLE functions (
        function_key ${integer} NOT NULL PRIMARY KEY,
        version_id TEXT NOT NULL,
        function_name TEXT NOT NULL,
        project_id TEXT NOT NULL,
        project_name TEXT NOT NULL,
        spec ${bytes} NOT NULL
      )`,
      "CREATE INDEX functions_of_project ON functions (project_id)",
      `CREATE TABLE schedulers (
        id TEXT NOT NULL PRIMARY KEY,
        lease_until ${integer} NOT NULL
      )`,
      `CREATE TABLE start_requests (
        request_id TEXT NOT NULL PRIMARY KEY,
        body_hash ${bytes} NOT NULL,
        outcomes ${bytes} NOT NULL,
        created_at ${integer} NOT NULL
      )`,
      "CREATE INDEX start_requests_by_age ON start_requests (created_at)",
      `CREATE TABLE cancel_cascades (
        invocation_id TEXT NOT NULL PRIMARY KEY
      )`,
      `CREATE TABLE cancelled_projects (
        project_id TEXT NOT NULL PRIMARY KEY
      )`,
      `CREATE TABLE log_lines (
        execution_id TEXT NOT NULL,
        line_number ${integer} NOT NULL,
        time_ms ${integer} NOT NULL,
        stream ${integer} NOT NULL,
        level TEXT NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (execution_id, line_number)
      ) ${clustered}`,
      `CREATE TABLE secrets (
        name TEXT NOT NULL PRIMARY KEY,
        value ${bytes} NOT NULL
      )`,
    ],
  },
  {
    // What has not begun may have been leased, more than once. The index of before goes when no service of before runs any more.
    name: "invocation-2",
    statements: () => [
      `CREATE INDEX invocations_not_begun ON invocations (expires_at)
        WHERE expires_at IS NOT NULL AND status = 1 AND started_at IS NULL AND interrupt IS NULL`,
    ],
  },
  {
    // Results that never change again stay where they are.
    name: "invocation-3",
    statements: ({ bytes, integer, readsWholeRows }) => [
      `CREATE TABLE large_results (
        invocation_id TEXT NOT NULL PRIMARY KEY,
        result ${bytes} NOT NULL
      )`,
      `ALTER TABLE invocations ADD COLUMN result_apart ${integer} NOT NULL DEFAULT 0`,
      ...(readsWholeRows
        ? [
            `INSERT INTO large_results (invocation_id, result) SELECT id, result FROM invocations
              WHERE status < ${FIRST_FINISHED_CODE} AND length(result) > ${INLINE_BYTES}`,
            `UPDATE invocations SET result = NULL, result_apart = 1
              WHERE status < ${FIRST_FINISHED_CODE} AND length(result) > ${INLINE_BYTES}`,
          ]
        : []),
    ],
  },
  {
    // Lines that were not the worker's own, so that its numbers can be told from those of all.
    name: "invocation-4",
    statements: ({ integer }) => [`ALTER TABLE log_lines ADD COLUMN printed ${integer} NOT NULL DEFAULT 0`],
  },
];

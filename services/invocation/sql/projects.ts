/** Functions that were called, requests that were made, projects that are being deleted, and secrets. */
import type { ReadTransaction, WriteTransaction } from "../../platform/store/db.js";
import type { Keys } from "./keys.js";

export async function loadSpec(
  keys: Keys,
  tx: ReadTransaction,
  versionId: string,
  functionName: string,
): Promise<Uint8Array | undefined> {
  const key = keys.ofFunction(versionId, functionName);
  return (await tx.get<{ spec: Uint8Array }>("SELECT spec FROM functions WHERE function_key = ?", key))?.spec;
}

export async function findIdempotent(
  tx: ReadTransaction,
  projectId: string,
  key: string,
): Promise<{ id: string; bodyHash: Uint8Array; createdAt: number } | undefined> {
  return await tx.get(
    `SELECT invocation_id AS id, body_hash AS "bodyHash", created_at AS "createdAt" FROM idempotency_keys
     WHERE project_id = ? AND idempotency_key = ?`,
    projectId,
    key,
  );
}

export async function forgetIdempotencyKey(tx: WriteTransaction, projectId: string, key: string): Promise<void> {
  await tx.run("DELETE FROM idempotency_keys WHERE project_id = ? AND idempotency_key = ?", projectId, key);
}

export async function findRequest(
  tx: ReadTransaction,
  requestId: string,
): Promise<{ bodyHash: Uint8Array; outcomes: Uint8Array } | undefined> {
  return await tx.get(`SELECT body_hash AS "bodyHash", outcomes FROM start_requests WHERE request_id = ?`, requestId);
}

export function putRequest(
  tx: WriteTransaction,
  request: { requestId: string; bodyHash: Uint8Array; outcomes: Uint8Array; createdAt: number },
): void {
  tx.runLast("INSERT INTO start_requests (request_id, body_hash, outcomes, created_at) VALUES (?, ?, ?, ?)", [
    [request.requestId, request.bodyHash, request.outcomes, request.createdAt],
  ]);
}

export async function putCascade(tx: WriteTransaction, invocationId: string): Promise<void> {
  await tx.run(
    "INSERT INTO cancel_cascades (invocation_id) VALUES (?) ON CONFLICT (invocation_id) DO NOTHING",
    invocationId,
  );
}

export async function loadCascades(tx: ReadTransaction, atMost: number): Promise<string[]> {
  const rows = await tx.all<{ id: string }>("SELECT invocation_id AS id FROM cancel_cascades LIMIT ?", atMost);
  return rows.map(({ id }) => id);
}

export async function forgetCascade(tx: WriteTransaction, invocationId: string): Promise<void> {
  await tx.run("DELETE FROM cancel_cascades WHERE invocation_id = ?", invocationId);
}

export async function cancelProject(tx: WriteTransaction, projectId: string): Promise<void> {
  await tx.run("INSERT INTO cancelled_projects (project_id) VALUES (?) ON CONFLICT (project_id) DO NOTHING", projectId);
  // A start locks its queue before it looks whether the project is cancelled: those under way are waited for.
  const sql = `SELECT queue_key FROM queues WHERE project_id = ? ORDER BY queue_key${tx.dialect.forUpdate}`;
  await tx.all(sql, projectId);
}

export async function isProjectCancelled(tx: ReadTransaction, projectId: string): Promise<boolean> {
  const row = await tx.get("SELECT 1 AS found FROM cancelled_projects WHERE project_id = ?", projectId);
  return row !== undefined;
}

export async function isProjectTerminated(tx: ReadTransaction, projectId: string): Promise<boolean> {
  const row = await tx.get(
    "SELECT 1 AS found FROM queues WHERE project_id = ? AND (used > 0 OR queued > 0) LIMIT 1",
    projectId,
  );
  return row === undefined;
}

export async function secret(tx: WriteTransaction, name: string, make: () => Uint8Array): Promise<Uint8Array> {
  const find = () => tx.get<{ value: Uint8Array }>("SELECT value FROM secrets WHERE name = ?", name);
  const known = await find();
  if (known !== undefined) return known.value; // without a write, for which a full disk has no room
  await tx.run("INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, make());
  const made = await find();
  if (made === undefined) throw new Error(`the secret ${name} is not stored`);
  return made.value;
}

/** API keys in SQL. */
import { ApiKeyRole } from "../../../gen/multinode/registry/v1/api_key_role.pb.js";
import { type Db, placeholders, type ReadTransaction, type WriteTransaction } from "../../platform/store/db.js";
import type { ApiKeyRecord, ApiKeyStore } from "../store.js";

interface ApiKeyRow {
  readonly key_id: string;
  readonly display_name: string;
  readonly secret_hash: Uint8Array;
  readonly role: ApiKeyRole;
  readonly project_name: string;
  readonly create_time_ms: number;
  readonly expire_time_ms: number | null;
  readonly revoke_time_ms: number | null;
}

const COLUMNS = "key_id, display_name, secret_hash, role, project_name, create_time_ms, expire_time_ms, revoke_time_ms";
/** Good, and may make other keys for ever: the same as in revoke_api_key.ts. */
const LASTING_ADMIN = `role = ${ApiKeyRole.ADMIN} AND expire_time_ms IS NULL AND revoke_time_ms IS NULL`;

export function createApiKeyStore(db: Db): ApiKeyStore {
  return {
    createApiKey: (key) => db.write((tx) => insertKey(tx, key)),

    createFirstApiKey: (key) =>
      db.write(async (tx) => {
        const existing = await tx.get("SELECT key_id FROM api_keys LIMIT 1");
        if (existing !== undefined) return false;
        await insertKey(tx, key);
        return true;
      }),

    findApiKey: (keyId) => db.read((tx) => findKey(tx, keyId)),

    listApiKeys: (beforeKeyId, count) =>
      db.read(async (tx) => {
        const order = "ORDER BY key_id DESC LIMIT ?";
        const rows =
          beforeKeyId === undefined
            ? await tx.all<ApiKeyRow>(`SELECT ${COLUMNS} FROM api_keys ${order}`, count)
            : await tx.all<ApiKeyRow>(`SELECT ${COLUMNS} FROM api_keys WHERE key_id < ? ${order}`, beforeKeyId, count);
        return rows.map(toKey);
      }),

    revokeApiKey: (keyId, nowMs, decide) =>
      db.write(async (tx) => {
        // Locked, so that two revocations at once do not leave none.
        const sql = `SELECT key_id FROM api_keys WHERE ${LASTING_ADMIN} ORDER BY key_id${tx.dialect.forUpdate}`;
        const lastingAdmins = await tx.all(sql);
        const key = await findKey(tx, keyId);
        if (key === undefined) return undefined;
        decide(key, lastingAdmins.length);
        await tx.run(
          "UPDATE api_keys SET revoke_time_ms = ? WHERE key_id = ? AND revoke_time_ms IS NULL",
          nowMs,
          keyId,
        );
        return await findKey(tx, keyId);
      }),
  };
}

async function insertKey(tx: WriteTransaction, key: ApiKeyRecord): Promise<void> {
  await tx.run(
    `INSERT INTO api_keys (${COLUMNS}) VALUES (${placeholders(8)})`,
    key.keyId,
    key.displayName,
    key.secretHash,
    key.role,
    key.projectName,
    key.createTimeMs,
    key.expireTimeMs ?? null,
    key.revokeTimeMs ?? null,
  );
}

async function findKey(tx: ReadTransaction, keyId: string): Promise<ApiKeyRecord | undefined> {
  const row = await tx.get<ApiKeyRow>(`SELECT ${COLUMNS} FROM api_keys WHERE key_id = ?`, keyId);
  return row === undefined ? undefined : toKey(row);
}

function toKey(row: ApiKeyRow): ApiKeyRecord {
  return {
    keyId: row.key_id,
    displayName: row.display_name,
    secretHash: row.secret_hash,
    role: row.role,
    projectName: row.project_name,
    createTimeMs: row.create_time_ms,
    expireTimeMs: row.expire_time_ms ?? undefined,
    revokeTimeMs: row.revoke_time_ms ?? undefined,
  };
}

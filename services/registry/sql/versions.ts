/** Versions and their functions in SQL. */
import { Code, FunctionSpec } from "../../../gen/multinode/registry/v1/function.pb.js";
import { type Db, placeholders, type ReadTransaction, type WriteTransaction } from "../../platform/store/db.js";
import type { EarlierRequest, VersionDecision } from "../domain/version_decision.js";
import type { NewVersion, StandingFunction, VersionRecord, VersionStore } from "../store.js";
import { findProject, insertProject } from "./projects.js";

interface VersionRow {
  readonly version_id: string;
  readonly project_id: string;
  readonly project_name: string;
  readonly code: Uint8Array;
  readonly create_time_ms: number;
  readonly number: number;
}

const COLUMNS = "version_id, project_id, project_name, code, create_time_ms, number";
const DIGESTS_PER_QUERY = 500;

export function createVersionStore(db: Db): VersionStore {
  return {
    createVersion: (version, decide) =>
      db.write(async (tx) => {
        const project = await findProject(tx, version.projectName);
        const earlier = project === undefined ? undefined : await findRequest(tx, project.projectId, version.requestId);
        const decision: VersionDecision = decide({ project, earlier });
        if (decision.kind === "answer-earlier") return decision;
        const projectId = project?.projectId ?? version.newProjectId;
        if (project === undefined) {
          const { projectName, createTimeMs } = version;
          await insertProject(tx, { projectId, projectName, latestVersionId: "", createTimeMs, isDeleting: false });
        }
        await insertVersion(tx, projectId, version);
        if (version.requestId !== "") await saveRequest(tx, projectId, version);
        return decision;
      }),

    findVersion: (versionId) =>
      db.read(async (tx) => {
        const row = await tx.get<VersionRow>(`SELECT ${COLUMNS} FROM versions WHERE version_id = ?`, versionId);
        return row === undefined ? undefined : toVersion(row);
      }),

    loadFunctions: (versionId) =>
      db.read(async (tx) => {
        const rows = await tx.all<{ readonly project_id: string; readonly spec: Uint8Array }>(
          `SELECT v.project_id, f.spec FROM versions v JOIN functions f ON f.version_id = v.version_id
           WHERE v.version_id = ? ORDER BY f.function_name`,
          versionId,
        );
        const [first] = rows; // A version has at least one function.
        if (first === undefined) return undefined;
        const functions = rows.map((row) => FunctionSpec.decode(row.spec));
        return {
          projectId: first.project_id,
          functions,
          sizeBytes: rows.reduce((size, row) => size + row.spec.byteLength, 0),
        };
      }),

    listVersions: (projectId, beforeNumber, count) =>
      db.read(async (tx) => {
        const sql = `SELECT ${COLUMNS} FROM versions WHERE project_id = ? AND number < ? ORDER BY number DESC LIMIT ?`;
        const rows = await tx.all<VersionRow>(sql, projectId, beforeNumber ?? Number.MAX_SAFE_INTEGER, count);
        return rows.map(toVersion);
      }),

    listStandingFunctions: () =>
      db.read(async (tx) => {
        const rows = await tx.all<{
          readonly project_id: string;
          readonly project_name: string;
          readonly version_id: string;
          readonly spec: Uint8Array;
        }>(
          `SELECT p.project_id, p.project_name, f.version_id, f.spec
           FROM functions f JOIN projects p ON p.latest_version_id = f.version_id
           WHERE f.min_workers > 0 AND p.delete_time_ms IS NULL ORDER BY p.project_name, f.function_name`,
        );
        return rows.map(
          (row): StandingFunction => ({
            projectId: row.project_id,
            projectName: row.project_name,
            versionId: row.version_id,
            spec: FunctionSpec.decode(row.spec),
          }),
        );
      }),

    usedBundles: (digests) =>
      db.read(async (tx) => {
        const used = new Set<string>();
        for (let start = 0; start < digests.length; start += DIGESTS_PER_QUERY) {
          const part = digests.slice(start, start + DIGESTS_PER_QUERY);
          const list = placeholders(part.length);
          const sql = `SELECT bundle_digest AS digest FROM versions WHERE bundle_digest IN (${list})
            UNION SELECT context_digest AS digest FROM versions WHERE context_digest IN (${list})`;
          const rows = await tx.all<{ readonly digest: string }>(sql, ...part, ...part);
          for (const { digest } of rows) used.add(digest);
        }
        return used;
      }),
  };
}

async function insertVersion(tx: WriteTransaction, projectId: string, version: NewVersion): Promise<void> {
  const { versionId, projectName, code, functions, createTimeMs } = version;
  await tx.run(
    "UPDATE projects SET latest_version_id = ?, version_count = version_count + 1 WHERE project_id = ?",
    versionId,
    projectId,
  );
  const project = await tx.get<{ readonly version_count: number }>(
    "SELECT version_count FROM projects WHERE project_id = ?",
    projectId,
  );
  await tx.run(
    `INSERT INTO versions (version_id, project_id, project_name, number, code, bundle_digest, context_digest, create_time_ms)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    versionId,
    projectId,
    projectName,
    project?.version_count ?? 0,
    Code.encode(code).finish(),
    code.source?.$case === "bundle" ? code.source.value.digest : null,
    code.contextDigest ?? null,
    createTimeMs,
  );
  await tx.runMany(
    "INSERT INTO functions (version_id, function_name, min_workers, spec) VALUES (?, ?, ?, ?)",
    functions.map((spec) => [
      versionId,
      spec.functionName,
      spec.options?.minWorkers ?? 0,
      FunctionSpec.encode(spec).finish(),
    ]),
  );
}

async function findRequest(
  tx: ReadTransaction,
  projectId: string,
  requestId: string,
): Promise<EarlierRequest | undefined> {
  if (requestId === "") return undefined;
  const row = await tx.get<{
    readonly version_id: string;
    readonly request_digest: string;
    readonly create_time_ms: number;
  }>(
    "SELECT version_id, request_digest, create_time_ms FROM version_requests WHERE project_id = ? AND request_id = ?",
    projectId,
    requestId,
  );
  if (row === undefined) return undefined;
  return { versionId: row.version_id, requestDigest: row.request_digest, createTimeMs: row.create_time_ms };
}

async function saveRequest(tx: WriteTransaction, projectId: string, version: NewVersion): Promise<void> {
  await tx.run(
    "DELETE FROM version_requests WHERE project_id = ? AND (request_id = ? OR create_time_ms < ?)",
    projectId,
    version.requestId,
    version.forgetRequestsBeforeMs,
  );
  await tx.run(
    `INSERT INTO version_requests (project_id, request_id, request_digest, version_id, create_time_ms)
     VALUES (?, ?, ?, ?, ?)`,
    projectId,
    version.requestId,
    version.requestDigest,
    version.versionId,
    version.createTimeMs,
  );
}

function toVersion(row: VersionRow): VersionRecord {
  return {
    versionId: row.version_id,
    projectId: row.project_id,
    projectName: row.project_name,
    code: Code.decode(row.code),
    createTimeMs: row.create_time_ms,
    number: row.number,
  };
}

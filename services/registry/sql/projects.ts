/** Projects in SQL. */
import { type Db, placeholders, type ReadTransaction, type WriteTransaction } from "../../platform/store/db.js";
import type { ProjectRecord, ProjectStore } from "../store.js";

interface ProjectRow {
  readonly project_id: string;
  readonly project_name: string;
  readonly latest_version_id: string;
  readonly create_time_ms: number;
  readonly delete_time_ms: number | null;
}

const COLUMNS = "project_id, project_name, latest_version_id, create_time_ms, delete_time_ms";
/** Parameters of one statement. */
const NAMES_PER_QUERY = 500;

export function createProjectStore(db: Db): ProjectStore {
  return {
    createProject: (project) =>
      db.write(async (tx) => {
        const existing = await findProject(tx, project.projectName);
        if (existing === undefined) await insertProject(tx, project);
        return existing;
      }),

    findProjects: (projectNames) =>
      db.read(async (tx) => {
        const projects: ProjectRecord[] = [];
        for (let start = 0; start < projectNames.length; start += NAMES_PER_QUERY) {
          const names = projectNames.slice(start, start + NAMES_PER_QUERY);
          const sql = `SELECT ${COLUMNS} FROM projects WHERE project_name IN (${placeholders(names.length)})`;
          projects.push(...(await tx.all<ProjectRow>(sql, ...names)).map(toProject));
        }
        return projects;
      }),

    listProjects: (afterName, count) =>
      db.read(async (tx) => {
        const sql = `SELECT ${COLUMNS} FROM projects WHERE project_name > ? ORDER BY project_name LIMIT ?`;
        return (await tx.all<ProjectRow>(sql, afterName ?? "", count)).map(toProject);
      }),

    markDeleting: (projectName, nowMs) =>
      db.write(async (tx) => {
        await tx.run(
          "UPDATE projects SET delete_time_ms = ? WHERE project_name = ? AND delete_time_ms IS NULL",
          nowMs,
          projectName,
        );
        return await findProject(tx, projectName);
      }),

    listDeleting: (count) =>
      db.read(async (tx) => {
        const sql = `SELECT ${COLUMNS} FROM projects WHERE delete_time_ms IS NOT NULL ORDER BY delete_time_ms LIMIT ?`;
        return (await tx.all<ProjectRow>(sql, count)).map(toProject);
      }),

    removeProject: (projectId) =>
      db.write(async (tx) => {
        const removed = await tx.run(
          "DELETE FROM projects WHERE project_id = ? AND delete_time_ms IS NOT NULL",
          projectId,
        );
        if (removed === 0) return;
        const versions = "SELECT version_id FROM versions WHERE project_id = ?";
        await tx.run(`DELETE FROM functions WHERE version_id IN (${versions})`, projectId);
        await tx.run("DELETE FROM versions WHERE project_id = ?", projectId);
        await tx.run("DELETE FROM version_requests WHERE project_id = ?", projectId);
      }),
  };
}

/** In a write the project is locked, so that it is not deleted meanwhile, nor given another version. */
export async function findProject(tx: ReadTransaction, projectName: string): Promise<ProjectRecord | undefined> {
  const sql = `SELECT ${COLUMNS} FROM projects WHERE project_name = ?${tx.dialect.forUpdate}`;
  const row = await tx.get<ProjectRow>(sql, projectName);
  return row === undefined ? undefined : toProject(row);
}

export async function insertProject(tx: WriteTransaction, project: ProjectRecord): Promise<void> {
  await tx.run(
    `INSERT INTO projects (project_id, project_name, latest_version_id, version_count, create_time_ms)
     VALUES (?, ?, ?, 0, ?)`,
    project.projectId,
    project.projectName,
    project.latestVersionId,
    project.createTimeMs,
  );
}

function toProject(row: ProjectRow): ProjectRecord {
  return {
    projectId: row.project_id,
    projectName: row.project_name,
    latestVersionId: row.latest_version_id,
    createTimeMs: row.create_time_ms,
    isDeleting: row.delete_time_ms !== null,
  };
}

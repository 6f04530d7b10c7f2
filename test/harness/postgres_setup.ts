/** vitest's global setup: one PostgreSQL for all files of a project. */
import type { TestProject } from "vitest/node";
import { startPostgres } from "./postgres.js";
import "./test_database.js";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startPostgres();
  project.provide("postgresUrl", server.url);
  return () => server.remove();
}

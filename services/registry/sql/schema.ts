/** Tables of the registry. */
import { ApiKeyRole } from "../../../gen/multinode/registry/v1/api_key_role.pb.js";
import type { Migration } from "../../platform/store/db.js";

const first: Migration = {
  name: "registry-1",
  statements: ({ bytes, integer }) => [
    `CREATE TABLE projects (
      project_id TEXT PRIMARY KEY,
      project_name TEXT NOT NULL UNIQUE,
      latest_version_id TEXT NOT NULL,
      version_count ${integer} NOT NULL,
      create_time_ms ${integer} NOT NULL,
      delete_time_ms ${integer}
    )`,
    `CREATE INDEX projects_deleting ON projects (delete_time_ms) WHERE delete_time_ms IS NOT NULL`,
    `CREATE TABLE versions (
      version_id TEXT PRIMARY KEY,
      project_id TEXT NOT NULL,
      project_name TEXT NOT NULL,
      number ${integer} NOT NULL,
      code ${bytes} NOT NULL,
      bundle_digest TEXT,
      create_time_ms ${integer} NOT NULL,
      UNIQUE (project_id, number)
    )`,
    `CREATE INDEX versions_bundle ON versions (bundle_digest) WHERE bundle_digest IS NOT NULL`,
    // `spec` is a FunctionSpec with its defaults filled in.
    `CREATE TABLE functions (
      version_id TEXT NOT NULL,
      function_name TEXT NOT NULL,
      min_workers ${integer} NOT NULL,
      spec ${bytes} NOT NULL,
      PRIMARY KEY (version_id, function_name)
    )`,
    `CREATE INDEX functions_standing ON functions (version_id) WHERE min_workers > 0`,
    `CREATE TABLE version_requests (
      project_id TEXT NOT NULL,
      request_id TEXT NOT NULL,
      request_digest TEXT NOT NULL,
      version_id TEXT NOT NULL,
      create_time_ms ${integer} NOT NULL,
      PRIMARY KEY (project_id, request_id)
    )`,
    `CREATE TABLE api_keys (
      key_id TEXT PRIMARY KEY,
      display_name TEXT NOT NULL,
      secret_hash ${bytes} NOT NULL,
      create_time_ms ${integer} NOT NULL,
      revoke_time_ms ${integer}
    )`,
  ],
};

const second: Migration = {
  name: "registry-2",
  statements: () => [
    `ALTER TABLE versions ADD COLUMN context_digest TEXT`,
    `CREATE INDEX versions_context ON versions (context_digest) WHERE context_digest IS NOT NULL`,
  ],
};

/** Keys that were there before may do everything, as they could. */
const third: Migration = {
  name: "registry-3",
  statements: ({ integer }) => [
    `ALTER TABLE api_keys ADD COLUMN role ${integer} NOT NULL DEFAULT ${ApiKeyRole.ADMIN}`,
    `ALTER TABLE api_keys ADD COLUMN project_name TEXT NOT NULL DEFAULT ''`,
    `ALTER TABLE api_keys ADD COLUMN expire_time_ms ${integer}`,
  ],
};

export const registryMigrations: readonly Migration[] = [first, second, third];

/** The registry's store on a database. */
import type { Db } from "../../platform/store/db.js";
import type { RegistryStore } from "../store.js";
import { createApiKeyStore } from "./api_keys.js";
import { createProjectStore } from "./projects.js";
import { createVersionStore } from "./versions.js";

/** `db` has the tables of `registryMigrations`. */
export function createRegistryStore(db: Db): RegistryStore {
  return { ...createProjectStore(db), ...createVersionStore(db), ...createApiKeyStore(db) };
}

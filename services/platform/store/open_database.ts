/** The database of a service: PostgreSQL where its address is set, and else SQLite in the data folder. */
import { join } from "node:path";
import { z } from "zod";
import type { Db, Migration } from "./db.js";
import { openPostgres } from "./postgres.js";
import { openSqlite } from "./sqlite.js";

export const DATABASE_SETTINGS = {
  /** Absent: SQLite in the data folder. All replicas of a service share one database. */
  MULTINODE_DATABASE_URL: z
    .url({
      protocol: /^postgres(ql)?$/,
      error: 'must be an address such as "postgresql://user:password@host:5432/db"',
    })
    .optional(),
  /** Takes a PostgreSQL whose fsync, full_page_writes or synchronous_commit is off. */
  MULTINODE_DATABASE_MAY_LOSE_DATA: z.enum(["true", "false"]).default("false"),
};

export interface DatabaseSettings {
  readonly MULTINODE_DATABASE_URL?: string | undefined;
  readonly MULTINODE_DATABASE_MAY_LOSE_DATA: "true" | "false";
}

/** `name` is that of the schema in PostgreSQL, or of the file in `folder`. */
export async function openDatabase(
  settings: DatabaseSettings,
  { name, folder }: { readonly name: string; readonly folder: string },
  migrations: readonly Migration[],
): Promise<Db> {
  const url = settings.MULTINODE_DATABASE_URL;
  if (url === undefined) return await openSqlite(join(folder, `${name}.db`), migrations);
  const mayLoseCommits = settings.MULTINODE_DATABASE_MAY_LOSE_DATA === "true";
  return await openPostgres({ url, schema: name, mayLoseCommits }, migrations);
}

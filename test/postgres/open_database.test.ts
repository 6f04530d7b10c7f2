/** Which database a service uses, by its settings. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, inject, it } from "vitest";
import { readSettings } from "../../services/platform/config.js";
import { DATABASE_SETTINGS, openDatabase } from "../../services/platform/store/open_database.js";
import { TEST_MIGRATIONS } from "../contract/db.contract.js";
import "../harness/test_database.js";

const url = inject("postgresUrl") ?? "";
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-open-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function open(env: NodeJS.ProcessEnv, name: string) {
  return await openDatabase(readSettings(DATABASE_SETTINGS, env), { name, folder }, TEST_MIGRATIONS);
}

it("is SQLite in the data folder where no address is set", async () => {
  const db = await open({}, "one");
  await db.close();
  expect(await readdir(folder)).toContain("one.db");
});

it("is a schema of its own for each service in PostgreSQL", async () => {
  const [one, two] = await Promise.all(["one", "two"].map((name) => open({ MULTINODE_DATABASE_URL: url }, name)));
  await one?.write((tx) => tx.run("INSERT INTO items (id, n) VALUES (?, 0)", "a"));
  expect(await two?.read((tx) => tx.all("SELECT id FROM items"))).toEqual([]);
  await Promise.all([one?.close(), two?.close()]);
  expect(await readdir(folder)).toEqual([]);
});

it.each([
  ["127.0.0.1:5432", "is wrong: must be an address such as"],
  ["mysql://u:secret@h/d", "is wrong: must be an address such as"],
  ["", "is empty"],
])("is refused where its address is wrong, by name: %j", (wrong, complaint) => {
  const read = () => readSettings(DATABASE_SETTINGS, { MULTINODE_DATABASE_URL: wrong });
  expect(read).toThrow(`MULTINODE_DATABASE_URL ${complaint}`);
  expect(read).not.toThrow("secret");
});

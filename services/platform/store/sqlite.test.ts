import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { TEST_MIGRATIONS, testDbPort } from "../../../test/contract/db.contract.js";
import { openSqlite } from "./sqlite.js";

const folders: string[] = [];

async function newFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "multinode-sqlite-"));
  folders.push(folder);
  return join(folder, "test.db");
}

async function removeAll(): Promise<void> {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
}

describe("SQLite", () => {
  testDbPort(async () => {
    const file = await newFile();
    const again = () => openSqlite(file, TEST_MIGRATIONS);
    return { db: await again(), again, remove: removeAll };
  });
});

describe("a migration of SQLite", () => {
  afterEach(removeAll);

  it("is done whole or not at all, and again at the next start", async () => {
    const file = await newFile();
    const broken = { name: "broken", statements: () => ["CREATE TABLE half (x TEXT)", "CREATE TABLE half (x TEXT)"] };
    await expect(openSqlite(file, [...TEST_MIGRATIONS, broken])).rejects.toThrow("half");
    const mended = { name: "broken", statements: () => ["CREATE TABLE half (x TEXT)"] };
    const db = await openSqlite(file, [...TEST_MIGRATIONS, mended]);
    await db.write((tx) => tx.run("INSERT INTO half (x) VALUES (?)", "a"));
    await db.close();
  });

  it("sees to it that a commit is on the disk", async () => {
    const db = await openSqlite(await newFile(), []);
    const pragma = (name: string) => db.write((tx) => tx.get<Record<string, unknown>>(`PRAGMA ${name}`));
    expect(await pragma("synchronous")).toEqual({ synchronous: 2 });
    expect(await pragma("journal_mode")).toEqual({ journal_mode: "wal" });
    await db.write(async () => {}, "relaxed");
    expect(await pragma("synchronous")).toEqual({ synchronous: 2 });
    await db.close();
  });

  it("refuses every write of a commit for which the disk has no room, and takes others when it has", async () => {
    const db = await openSqlite(await newFile(), TEST_MIGRATIONS);
    await db.write((tx) => tx.run("INSERT INTO items (id, n) VALUES ('first', 0)"));
    const pages = async (more: number) => {
      const row = await db.write((tx) => tx.get<{ page_count: number }>("PRAGMA page_count"));
      await db.write((tx) => tx.get(`PRAGMA max_page_count = ${(row?.page_count ?? 0) + more}`));
    };
    await pages(0);
    const large = new Uint8Array(100_000);
    const insert = (id: string, data: Uint8Array) =>
      db.write((tx) => tx.run("INSERT INTO items (id, n, data) VALUES (?, 0, ?)", id, data));
    const outcomes = await Promise.allSettled([insert("a", new Uint8Array(1)), insert("b", large)]);
    expect(outcomes[1]).toMatchObject({ status: "rejected", reason: { reason: "ResourceExhausted" } });
    // Either both were undone, or only the one that had no room: never neither answered nor stored.
    const stored = await db.read((tx) => tx.all<{ id: string }>("SELECT id FROM items ORDER BY id"));
    const expected = outcomes[0].status === "fulfilled" ? ["a", "first"] : ["first"];
    expect(stored.map(({ id }) => id)).toEqual(expected);
    await pages(1_000);
    await insert("c", large);
    await db.close();
  });
});

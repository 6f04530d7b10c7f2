import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { TEST_MIGRATIONS, testDbPort } from "../../../test/contract/db.contract.js";
import { DiskSync } from "./disk_sync.js";
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

/** Holds back every synchronization with the disk until it is released. */
function holdDisk() {
  const asked = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const spy = vi.spyOn(DiskSync.prototype, "sync").mockImplementation(async () => {
    asked.resolve();
    await released.promise;
  });
  return { asked: () => asked.promise, release: () => released.resolve(), restore: () => spy.mockRestore() };
}

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

  it("answers a durable write, and shows it, only when the disk has it", async () => {
    const db = await openSqlite(await newFile(), TEST_MIGRATIONS);
    const disk = holdDisk();
    const told: string[] = [];
    const insert = (id: string, durability: "durable" | "relaxed") =>
      db
        .write((tx) => tx.run("INSERT INTO items (id, n) VALUES (?, 0)", id), {
          durability,
          committed: () => told.push(`${id} committed`),
        })
        .then(() => told.push(`${id} answered`));
    const count = "SELECT count(*) AS n FROM items";

    await insert("relaxed", "relaxed");
    const durable = insert("durable", "durable");
    await disk.asked();
    expect(told).toEqual(["relaxed committed", "relaxed answered", "durable committed"]);
    expect(await db.peek((tx) => tx.get(count))).toEqual({ n: 2 });
    const seen = db.read((tx) => tx.get(count)).then((row) => told.push(`read ${JSON.stringify(row)}`));
    const later = insert("later", "relaxed");
    await db.peek((tx) => tx.get(count));
    expect(told).not.toContain("durable answered");
    disk.release();
    await Promise.all([durable, seen, later]);
    expect(told.indexOf("durable answered")).toBeLessThan(told.findIndex((line) => line.startsWith("read")));
    expect(told.indexOf("durable answered")).toBeLessThan(told.indexOf("later answered"));
    disk.restore();
    await db.close();
  });

  it("reads though others write all the time and the disk is slow", async () => {
    const db = await openSqlite(await newFile(), TEST_MIGRATIONS);
    let running = Promise.resolve();
    const disk = vi.spyOn(DiskSync.prototype, "sync").mockImplementation(() => {
      running = running.then(() => delay(5));
      return running;
    });
    let written = 0;
    let isOver = false;
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let n = 0; !isOver; n += 1) {
        await db.write((tx) => tx.run("INSERT INTO items (id, n) VALUES (?, 0)", `${writer}-${n}`));
        written += 1;
        await delay(writer);
      }
    });
    for (const least of [50, 100, 150]) {
      await vi.waitFor(() => expect(written).toBeGreaterThan(least));
      await db.read((tx) => tx.get("SELECT 1"));
    }
    isOver = true;
    await Promise.all(writers);
    disk.mockRestore();
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

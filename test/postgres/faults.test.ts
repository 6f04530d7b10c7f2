/** What becomes of writes when PostgreSQL ends, and what is asked of one before it is used. */
import { afterEach, describe, expect, it } from "vitest";
import { Refusal } from "../../services/platform/errors.js";
import type { Db } from "../../services/platform/store/db.js";
import { openPostgres } from "../../services/platform/store/postgres.js";
import { TEST_MIGRATIONS } from "../contract/db.contract.js";
import { startPostgres, type TestPostgres, type TestPostgresOptions } from "../harness/postgres.js";

let server: TestPostgres;
let db: Db | undefined;

async function start(options: TestPostgresOptions = {}): Promise<void> {
  server = await startPostgres(options);
}

afterEach(async () => {
  await db?.close();
  db = undefined;
  await server.remove();
});

const open = (url = server.url, more = {}) =>
  openPostgres({ url, schema: "faults", startWithinMs: 300, ...more }, TEST_MIGRATIONS);

const isUnavailable = (error: unknown) => error instanceof Refusal && error.reason === "Unavailable";

describe("a server that is killed", () => {
  it("loses nothing that was answered, keeps nothing by halves, and is used again when it is back", async () => {
    await start();
    const opened = await open();
    db = opened;
    const answered: number[] = [];
    const refused: unknown[] = [];
    let next = 0;
    /** Two rows at once: either both are there or none. */
    const insert = async () => {
      const number = next++;
      try {
        await opened.write(async (tx) => {
          await tx.run("INSERT INTO items (id, n) VALUES (?, ?)", `a${number}`, number);
          await tx.run("INSERT INTO items (id, n) VALUES (?, ?)", `b${number}`, number);
        });
        answered.push(number);
      } catch (error) {
        refused.push(error);
      }
    };
    let isDown = false;
    const load = Array.from({ length: 8 }, async () => {
      while (!isDown) await insert();
    });
    await expect.poll(() => answered.length, { timeout: 10_000 }).toBeGreaterThan(100);
    const pending = Promise.all(Array.from({ length: 50 }, insert));
    await server.stop("immediate");
    isDown = true;
    await Promise.all([...load, pending]);
    await insert(); // while it is away
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.filter((error) => !isUnavailable(error))).toEqual([]);
    await expect(opened.read((tx) => tx.all("SELECT 1"))).rejects.toSatisfy(isUnavailable);

    await server.start();
    const rows = await opened.read((tx) => tx.all<{ id: string; n: number }>("SELECT id, n FROM items"));
    const found = new Set(rows.map(({ id }) => id));
    expect(answered.filter((number) => !found.has(`a${number}`) || !found.has(`b${number}`))).toEqual([]);
    expect(rows.filter(({ n }) => !found.has(`a${n}`) || !found.has(`b${n}`))).toEqual([]);
    const before = answered.length;
    await insert();
    expect(answered).toHaveLength(before + 1);
  });

  it("while it commits leaves it open whether the write was stored, and says so", async () => {
    await start();
    db = await open();
    await server.query(`
      CREATE FUNCTION faults.slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
      CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON faults.items DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.id = 'slow') EXECUTE FUNCTION faults.slowly()`);
    const writing = db.write((tx) => tx.run("INSERT INTO items (id, n) VALUES ('slow', 0)"));
    const settled = Promise.allSettled([writing]);
    const active = "FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'";
    await expect.poll(() => server.query(`SELECT pid ${active}`), { timeout: 10_000 }).toHaveLength(1);
    await server.query(`SELECT pg_terminate_backend(pid) ${active}`);
    const [outcome] = await settled;
    expect(outcome).toMatchObject({ status: "rejected", reason: { reason: "Unavailable" } });
    await expect(writing).rejects.toThrow("whether this was stored");
    await db.write((tx) => tx.run("INSERT INTO items (id, n) VALUES ('next', 0)"));
  });
});

describe("at the start", () => {
  it("a server that may lose commits is refused, unless that is said to be wanted", async () => {
    await start({ settings: { fsync: "off", full_page_writes: "off", synchronous_commit: "off" } });
    await expect(open()).rejects.toThrow(
      "it may lose what it has acknowledged: fsync is off, full_page_writes is off, synchronous_commit is off",
    );
    db = await open(server.url, { mayLoseCommits: true });
  });

  it("a wrong password, database or address is told, and the password is not", async () => {
    await start({ password: "right-secret" });
    db = await open();
    const wrong = server.url.replace("right-secret", "wrong-secret");
    await expect(open(wrong)).rejects.toThrow(/^the database postgresql:.*password authentication failed/);
    await expect(open(wrong)).rejects.not.toThrow("wrong-secret");
    await expect(open(server.url.replace(":right-secret", ""))).rejects.toThrow("password");
    await expect(open(server.url.replace(/postgres$/, "absent"))).rejects.toThrow('database "absent" does not exist');
    await expect(open("postgresql://multinode@127.0.0.1:1/postgres")).rejects.toThrow("ECONNREFUSED");
  });

  it("a server that is not up yet is waited for", async () => {
    await start();
    await server.stop();
    const opening = open(server.url, { startWithinMs: 30_000 });
    await server.start();
    db = await opening;
    await db.write((tx) => tx.run("INSERT INTO items (id, n) VALUES ('a', 0)"));
  });
});

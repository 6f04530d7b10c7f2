/** What every implementation of the database port must do: D1 to D5 of `services/platform/store/db.ts`. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type Db,
  type Migration,
  type SqlValue,
  together,
  type WriteTransaction,
} from "../../services/platform/store/db.js";

export const TEST_MIGRATIONS: readonly Migration[] = [
  {
    name: "test-1",
    statements: ({ bytes, integer, clustered }) => [
      `CREATE TABLE items (id TEXT NOT NULL PRIMARY KEY, n ${integer} NOT NULL, data ${bytes}, note TEXT) ${clustered}`,
    ],
  },
  { name: "test-2", statements: () => ["CREATE UNIQUE INDEX items_by_note ON items (note) WHERE note IS NOT NULL"] },
];

export interface TestDb {
  readonly db: Db;
  /** Opens the same database again, with the same migrations. */
  again(): Promise<Db>;
  /** Removes it. */
  remove(): Promise<void>;
}

/** `open` answers an empty database with the tables of TEST_MIGRATIONS. */
export function testDbPort(open: () => Promise<TestDb>): void {
  let opened: TestDb;
  let db: Db;

  beforeAll(async () => {
    opened = await open();
    db = opened.db;
  });
  afterAll(async () => {
    await db.close();
    await opened.remove();
  });
  beforeEach(() => db.write((tx) => tx.run("DELETE FROM items")));

  const add = (tx: WriteTransaction, id: string, n = 0) => tx.run("INSERT INTO items (id, n) VALUES (?, ?)", id, n);
  const ids = async (from: Db = db) => {
    const rows = await from.read((tx) => tx.all<{ id: string }>("SELECT id FROM items ORDER BY id"));
    return rows.map(({ id }) => id);
  };
  const fail = (): never => {
    throw new Error("refused");
  };

  describe("values", () => {
    it("come back as they went in", async () => {
      const data = Uint8Array.from([0, 255, 1]);
      const text = "ü 界 \u{1f600} 'quoted' ?";
      await db.write((tx) =>
        tx.run("INSERT INTO items (id, n, data, note) VALUES (?, ?, ?, ?)", "a", Number.MAX_SAFE_INTEGER, data, text),
      );
      const row = await db.read((tx) => tx.get<Record<string, unknown>>("SELECT n, data, note FROM items"));
      expect(row?.["n"]).toBe(Number.MAX_SAFE_INTEGER);
      expect(Uint8Array.from(row?.["data"] as Uint8Array)).toEqual(data);
      expect(row?.["note"]).toBe(text);
    });

    it("may be absent", async () => {
      await db.write((tx) => add(tx, "a"));
      expect(await db.read((tx) => tx.get("SELECT data, note FROM items WHERE id = ?", "a"))).toMatchObject({
        data: null,
        note: null,
      });
      expect(await db.read((tx) => tx.get("SELECT 1 AS x FROM items WHERE id = ?", "b"))).toBeUndefined();
      expect(await db.read((tx) => tx.all("SELECT 1 AS x FROM items WHERE id = ?", "b"))).toEqual([]);
    });

    it("come as lists too, in the order of the columns", async () => {
      await db.write((tx) =>
        tx.runMany("INSERT INTO items (id, n) VALUES (?, ?)", [
          ["a", 1],
          ["b", 2],
        ]),
      );
      expect(await db.read((tx) => tx.tuples("SELECT n, id FROM items ORDER BY id"))).toEqual([
        [1, "a"],
        [2, "b"],
      ]);
    });
  });

  describe("a write", () => {
    it("answers what its function answers, and how many rows changed", async () => {
      await db.write((tx) =>
        tx.runMany("INSERT INTO items (id, n) VALUES (?, ?)", [
          ["a", 1],
          ["b", 1],
          ["c", 2],
        ]),
      );
      expect(await db.write((tx) => tx.run("UPDATE items SET n = n + 1 WHERE n = ?", 1))).toBe(2);
      expect(await db.write((tx) => tx.run("UPDATE items SET n = 0 WHERE n = ?", 77))).toBe(0);
    });

    it("is stored once it has answered, whoever looks (D1)", async () => {
      await db.write((tx) => add(tx, "a"));
      const other = await opened.again();
      expect(await ids(other)).toEqual(["a"]);
      await other.close();
    });

    it("sees its own changes, which nobody else sees before its commit (D3)", async () => {
      let seen: string[] | undefined;
      let others: string[] | undefined;
      await db.write(async (tx) => {
        await add(tx, "a");
        seen = (await tx.all<{ id: string }>("SELECT id FROM items")).map(({ id }) => id);
        others = await ids();
      });
      expect(others).toEqual([]);
      expect(seen).toEqual(["a"]);
      expect(await ids()).toEqual(["a"]);
    });

    it("that throws changes nothing and passes on what it threw", async () => {
      const thrown = new Error("of mine");
      const writing = db.write(async (tx) => {
        await add(tx, "a");
        throw thrown;
      });
      await expect(writing).rejects.toBe(thrown);
      expect(await ids()).toEqual([]);
    });

    it("undoes only itself where it shares a commit (D2)", async () => {
      const writes = Array.from({ length: 30 }, (_, index) =>
        db.write(async (tx) => {
          await add(tx, `i${String(index).padStart(2, "0")}`);
          if (index % 3 === 0) fail();
        }),
      );
      const outcomes = await Promise.allSettled(writes);
      expect(outcomes.map(({ status }) => status)).toEqual(
        outcomes.map((_, i) => (i % 3 === 0 ? "rejected" : "fulfilled")),
      );
      expect(await ids()).toHaveLength(20);
    });

    it("that violates a constraint is undone alone (D2)", async () => {
      await db.write((tx) => add(tx, "a"));
      const outcomes = await Promise.allSettled([
        db.write((tx) => add(tx, "b")),
        db.write(async (tx) => {
          await add(tx, "c");
          await add(tx, "a");
        }),
        db.write((tx) =>
          tx.runMany("INSERT INTO items (id, n) VALUES (?, ?)", [
            ["d", 1],
            ["a", 1],
          ]),
        ),
        db.write((tx) => add(tx, "e")),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"]);
      expect(await ids()).toEqual(["a", "b", "e"]);
    });

    it("is undone whole where parts of it run side by side and one fails, and passes on why", async () => {
      await db.write((tx) => add(tx, "a"));
      const parts = (tx: WriteTransaction) => {
        const violation = async () => await (async () => await add(tx, "a"))();
        const longer = async () => {
          for (const id of ["x", "y", "z"]) await add(tx, id);
        };
        return together([longer(), violation(), tx.get("SELECT 1 AS x")]);
      };
      const writes = [db.write(parts), db.write((tx) => add(tx, "b")), db.write(parts), db.write((tx) => add(tx, "c"))];
      const outcomes = await Promise.allSettled(writes);
      expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected", "fulfilled"]);
      await expect(writes[0]).rejects.toThrow(/unique/i);
      expect(await ids()).toEqual(["a", "b", "c"]);
    });

    it("does in order what is asked for together, also where it was never done before (D6)", async () => {
      const both = (n: number): [number, string][] => [
        [n, "a"],
        [n, "b"],
      ];
      await db.write(async (tx) => {
        await add(tx, "a", 1);
        await add(tx, "b", 1);
        await together([
          tx.runMany("UPDATE items SET n = n + ? WHERE id = ? AND n < 901", both(1)),
          tx.runMany("UPDATE items SET n = n * ? WHERE id = ? AND n < 902", both(10)),
          tx.runMany("UPDATE items SET n = n + ? WHERE id = ? AND n < 903", both(2)),
          tx.run("UPDATE items SET n = n * ?", 10),
        ]);
      });
      expect(await db.read((tx) => tx.all("SELECT n FROM items"))).toEqual([{ n: 220 }, { n: 220 }]);
    });

    it("does last what is to be done last, in order, and sees nothing of it before", async () => {
      const seen = await db.write(async (tx) => {
        tx.runLast("UPDATE items SET n = n + ? WHERE id = ?", [
          [1, "a"],
          [2, "b"],
        ]);
        tx.runLast("UPDATE items SET n = n * ? WHERE id = ?", [[10, "a"]]);
        await add(tx, "a");
        await add(tx, "b");
        return await tx.all("SELECT n FROM items WHERE n > 0");
      });
      expect(seen).toEqual([]);
      const rows = await db.read((tx) => tx.all("SELECT id, n FROM items ORDER BY id"));
      expect(rows).toEqual([
        { id: "a", n: 10 },
        { id: "b", n: 2 },
      ]);
    });

    it("is undone where what is done last fails, alone and beside others, and is not done with a later one", async () => {
      await db.write((tx) => add(tx, "taken"));
      const failing = () =>
        db.write(async (tx) => {
          await add(tx, "first");
          tx.runLast("INSERT INTO items (id, n) VALUES (?, ?)", [
            ["last", 1],
            ["taken", 1],
          ]);
        });
      await expect(failing()).rejects.toThrow(/unique|duplicate/i);
      expect(await ids()).toEqual(["taken"]);
      const results = await Promise.allSettled([
        db.write((tx) => add(tx, "x")),
        failing(),
        db.write((tx) => add(tx, "y")),
      ]);
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect(await ids()).toEqual(["taken", "x", "y"]);
      const refused = db.write(async (tx) => {
        tx.runLast("INSERT INTO items (id, n) VALUES (?, ?)", [["never", 1]]);
        return fail();
      });
      await expect(refused).rejects.toThrow("refused");
      await db.write((tx) => add(tx, "z"));
      expect(await ids()).toEqual(["taken", "x", "y", "z"]);
    });

    it("runs as if alone, however many run at once (D1)", async () => {
      await db.write((tx) => add(tx, "counter"));
      const increment = () =>
        db.write(async (tx) => {
          const row = await tx.get<{ n: number }>(`SELECT n FROM items WHERE id = ?${tx.dialect.forUpdate}`, "counter");
          await tx.run("UPDATE items SET n = ? WHERE id = ?", (row?.n ?? 0) + 1, "counter");
        });
      await Promise.all(Array.from({ length: 600 }, increment));
      expect(await db.read((tx) => tx.get("SELECT n FROM items"))).toMatchObject({ n: 600 });
    });

    it("loses nothing where two processes write at once (D8)", async () => {
      await db.write((tx) => add(tx, "counter"));
      const other = await opened.again();
      const increment = (by: Db) =>
        by.write(async (tx) => {
          const row = await tx.get<{ n: number }>(`SELECT n FROM items WHERE id = ?${tx.dialect.forUpdate}`, "counter");
          await tx.run("UPDATE items SET n = ? WHERE id = ?", (row?.n ?? 0) + 1, "counter");
        });
      await Promise.all(Array.from({ length: 400 }, (_, i) => increment(i % 2 === 0 ? db : other)));
      expect(await db.read((tx) => tx.get("SELECT n FROM items"))).toMatchObject({ n: 400 });
      await other.close();
    });

    it("that looks before it inserts finds what another has inserted meanwhile (D8)", async () => {
      const other = await opened.again();
      const insertIfMissing = (by: Db, id: string) =>
        by.write(async (tx) => {
          const found = await tx.get("SELECT n FROM items WHERE id = ?", id);
          if (found === undefined) await add(tx, id);
          return found === undefined;
        });
      for (let round = 0; round < 20; round++) {
        const made = await Promise.all([insertIfMissing(db, `i${round}`), insertIfMissing(other, `i${round}`)]);
        expect(made.filter((isNew) => isNew)).toHaveLength(1);
      }
      await other.close();
    });

    it("changes many rows as if one by one", async () => {
      const rows = Array.from({ length: 2_500 }, (_, i) => [`i${String(i).padStart(4, "0")}`, i, `"\\ {,} ' ${i} ü`]);
      const data = Uint8Array.from([0, 92, 255]);
      const insert = "INSERT INTO items (id, n, data, note) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";
      const all = rows.map(([id, n, note], i) => [id, n, i % 2 === 0 ? data : null, note]) as SqlValue[][];
      expect(await db.write((tx) => tx.runMany(insert, all))).toBe(2_500);
      expect(await db.write((tx) => tx.runMany(insert, all.slice(0, 10)))).toBe(0);
      const stored = await db.read((tx) => tx.tuples("SELECT id, n, data, note FROM items ORDER BY id"));
      expect(
        stored.map(([id, n, bytes, note]) => [id, n, bytes && Uint8Array.from(bytes as Uint8Array), note]),
      ).toEqual(all);
      const update = "UPDATE items SET n = n + ?, note = NULL WHERE id = ? AND n = ?";
      const changes = all.map(([id, n], i) => [1, id, i < 7 ? -1 : n]) as SqlValue[][];
      expect(await db.write((tx) => tx.runMany(update, changes))).toBe(2_493);
      const sum = await db.read((tx) => tx.get("SELECT sum(n) AS n, count(note) AS notes FROM items"));
      expect(sum).toEqual({ n: (2_499 * 2_500) / 2 + 2_493, notes: 7 });
      const ids = all.slice(0, 3).map(([id]) => [id]) as SqlValue[][];
      expect(await db.write((tx) => tx.runMany("DELETE FROM items WHERE id = ?", ids))).toBe(3);
      const large = new Uint8Array(600_000).fill(7);
      const heavy = ["a", "b", "c"].map((id) => [id, 1, large, null]) as SqlValue[][];
      expect(await db.write((tx) => tx.runMany(insert, heavy))).toBe(3);
      expect(await db.write((tx) => tx.runMany(insert, []))).toBe(0);
    });

    it("may be relaxed, and is seen all the same (D4)", async () => {
      const relaxed = db.write((tx) => add(tx, "a"), { durability: "relaxed" });
      const refused = db.write(
        async (tx) => {
          await add(tx, "b");
          fail();
        },
        { durability: "relaxed" },
      );
      await expect(refused).rejects.toThrow("refused");
      await relaxed;
      await db.write((tx) => add(tx, "c"), { durability: "durable" });
      const other = await opened.again();
      expect(await ids(other)).toEqual(["a", "c"]);
      await other.close();
    });
  });

  it("compares texts byte by byte", async () => {
    const inOrder = ["", "-", "-a", "A", "Z", "_", "a", "a-", "a-b", "aB", "aa", "b", "ü"];
    await db.write((tx) =>
      tx.runMany(
        "INSERT INTO items (id, n) VALUES (?, 0)",
        inOrder.toReversed().map((id) => [id]),
      ),
    );
    expect(await ids()).toEqual(inOrder);
    const later = await db.read((tx) => tx.tuples("SELECT id FROM items WHERE id > ? ORDER BY id", "Z"));
    expect(later.flat()).toEqual(inOrder.slice(5));
  });

  it("reads one state, whatever is being written (D3)", async () => {
    await db.write((tx) =>
      tx.runMany("INSERT INTO items (id, n) VALUES (?, ?)", [
        ["a", 0],
        ["b", 0],
      ]),
    );
    const torn: unknown[] = [];
    const sum = "SELECT n FROM items WHERE id = ?";
    const read = async () => {
      const [a, b] = await db.read(async (tx) => [
        await tx.get<{ n: number }>(sum, "a"),
        await tx.get<{ n: number }>(sum, "b"),
      ]);
      if (a?.n !== b?.n) torn.push([a?.n, b?.n]);
    };
    const write = () =>
      db.write(async (tx) => {
        await tx.run("UPDATE items SET n = n + 1 WHERE id = ?", "a");
        await tx.run("UPDATE items SET n = n + 1 WHERE id = ?", "b");
      });
    for (let round = 0; round < 50; round++) {
      await Promise.all([write(), read(), write().then(read), read().then(write), read()]);
    }
    expect(torn).toEqual([]);
  });

  it("applies each migration once", async () => {
    await db.write((tx) => add(tx, "a"));
    const again = await opened.again();
    expect(await ids(again)).toEqual(["a"]);
    await again.close();
  });

  it("finishes what was asked of it, then closes and refuses", async () => {
    const other = await opened.again();
    const writing = Promise.all(Array.from({ length: 300 }, (_, i) => other.write((tx) => add(tx, `i${i}`))));
    await other.close();
    await writing;
    expect(await ids()).toHaveLength(300);
    await expect(other.read((tx) => tx.all("SELECT 1"))).rejects.toMatchObject({ reason: "Unavailable" });
    await expect(other.write((tx) => add(tx, "late"))).rejects.toMatchObject({ reason: "Unavailable" });
  });
}

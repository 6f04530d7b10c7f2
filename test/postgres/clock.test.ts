/** Time, as all who share a PostgreSQL server see it. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Db } from "../../services/platform/store/db.js";
import { openPostgres } from "../../services/platform/store/postgres.js";
import { startPostgres, type TestPostgres } from "../harness/postgres.js";

const HOUR_MS = 3_600_000;

let postgres: TestPostgres;
let opened: Db[];

beforeEach(async () => {
  postgres = await startPostgres();
  opened = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const db of opened) await db.close();
  await postgres.remove();
});

async function open(): Promise<Db> {
  const db = await openPostgres({ url: postgres.url, schema: "clock" }, []);
  opened.push(db);
  return db;
}

/** Sets this machine's clock by so much. */
function setClock(byMs: number): void {
  vi.spyOn(Date, "now").mockImplementation(() => Math.round(realTime() + byMs));
}

const realTime = () => performance.timeOrigin + performance.now();

it.each([HOUR_MS, -HOUR_MS])("is the server's where this machine's clock is off by %d ms", async (byMs) => {
  setClock(byMs);
  const { clock } = await open();
  expect(Math.abs(clock.now() - realTime())).toBeLessThan(500);
  expect(Number.isInteger(clock.now())).toBe(true);
});

it("is not what this machine's clock was set to, not even until the server has answered", async () => {
  const { clock } = await open();
  // In one turn, in which no answer can come.
  for (const byMs of [HOUR_MS, -HOUR_MS, 0]) {
    setClock(byMs);
    expect(Math.abs(clock.now() - realTime())).toBeLessThan(500);
  }
});

it("is found again after this machine's clock was set, and lasts while the server is away", async () => {
  const { clock } = await open();
  setClock(HOUR_MS);
  await vi.waitFor(() => expect(Math.abs(clock.now() - realTime())).toBeLessThan(500), { timeout: 5_000 });
  await postgres.stop();
  expect(Math.abs(clock.now() - realTime())).toBeLessThan(500);
  setClock(-HOUR_MS);
  clock.now();
  await postgres.start();
  await vi.waitFor(() => expect(Math.abs(clock.now() - realTime())).toBeLessThan(500), { timeout: 15_000 });
});

/** What ended long ago, with a service whose clock jumps. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { LeasedExecution } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { LogStream } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import { encodeArguments } from "../../sdk/typescript/src/values/codec.js";
import { openTestInvocations, reports, type TestInvocations } from "./test_invocation.js";

const WAIT = { timeout: 10_000, interval: 20 };
const DAY_MS = 24 * 60 * 60 * 1_000;
const LARGE = "x".repeat(2_000);
/** Where anything of an invocation lies, and by what. */
const TABLES = {
  invocations: "id",
  executions: "invocation_id",
  large_inputs: "invocation_id",
  large_results: "invocation_id",
} as const;

let test: TestInvocations;
let scheduler: string;

beforeEach(async () => {
  test = await openTestInvocations(undefined, undefined, 2);
  scheduler = test.ids.next("sch");
  test.catalog.add("f", { maxRetries: 1 });
  test.service.start();
});
afterEach(() => test.close());

const lease = () => test.lease(scheduler);
const log = ({ ref }: LeasedExecution, lines: number, first = 1) =>
  test.dispatch.appendLogs({
    lines: Array.from({ length: lines }, (_, index) => ({
      executionId: ref?.executionId ?? "",
      lineNumber: first + index,
      timeMs: 1,
      stream: LogStream.STDOUT,
      text: "a",
    })),
  });

/** How many rows each table has of these, and how many lines were printed in all. */
async function rowsOf(ids: readonly string[]): Promise<Record<string, number>> {
  const list = ids.map((id) => `'${id}'`).join();
  const counts: Record<string, number> = {};
  for (const [table, key] of Object.entries(TABLES)) {
    const sql = `SELECT COUNT(*) AS count FROM ${table} WHERE ${key} IN (${list})`;
    counts[table] = Number((await test.db.read((tx) => tx.get<{ count: number }>(sql)))?.count);
  }
  const lines = await test.db.read((tx) => tx.get<{ count: number }>("SELECT COUNT(*) AS count FROM log_lines"));
  return { ...counts, log_lines: Number(lines?.count) };
}

async function exist(ids: readonly string[]): Promise<boolean[]> {
  return await Promise.all(
    ids.map((id) =>
      test.get(id).then(
        () => true,
        (error: Error) => {
          expect(error).toMatchObject({ reason: "InvocationDoesNotExist" });
          return false;
        },
      ),
    ),
  );
}

it("goes with its executions and logs, and nothing else does", async () => {
  const { positional, named } = encodeArguments([LARGE], undefined);
  const large = { arguments: { positional, named } } as Parameters<typeof test.start>[1];
  const [done, failed] = [await test.start("f", large), await test.start("f")];
  const first = await lease();
  for (const execution of first) await log(execution, 3);
  await test.report(...first.map((one) => reports.threw(one, { released: true })));
  const second = await lease();
  for (const execution of second) await log(execution, 3);
  const [a, b] = second;
  if (a === undefined || b === undefined) throw new Error("two were to be leased");
  await test.report(
    reports.yielded(a, 1, LARGE),
    reports.returned(a, LARGE, true),
    reports.threw(b, { released: true }),
  );
  const running = await test.start("f");
  const [late] = await lease();
  if (late === undefined) throw new Error("one was to be leased");
  await log(late, 1);
  const waiting = await test.start("f");
  expect(await rowsOf([done, failed])).toMatchObject({ invocations: 2, executions: 2, large_inputs: 1, log_lines: 13 });

  test.clock.forward(1.5 * DAY_MS);
  await test.report(reports.returned(late, 1, true)); // started as long ago as the others, and ended now
  test.clock.forward(0.6 * DAY_MS);
  await vi.waitFor(async () => expect(await exist([done, failed])).toEqual([false, false]), WAIT);
  expect(await exist([running, waiting])).toEqual([true, true]);
  expect(await rowsOf([done, failed])).toEqual({
    invocations: 0,
    executions: 0,
    large_inputs: 0,
    large_results: 0,
    log_lines: 1,
  });

  test.clock.forward(1.5 * DAY_MS);
  await vi.waitFor(async () => expect(await exist([running, waiting])).toEqual([false, true]), WAIT);
});

it("stays as long as a descendant does, which its cancellation has to reach", async () => {
  const root = await test.start("f");
  const [leased] = await lease();
  if (leased === undefined) throw new Error("one was to be leased");
  const child = await test.start("f", { parentInvocationId: root });
  const [ofChild] = await lease();
  if (ofChild === undefined) throw new Error("one was to be leased");
  const grandchild = await test.start("f", { parentInvocationId: child });
  await test.report(reports.returned(ofChild, 1, true));
  const other = await test.start("f");
  await test.cancel(other);

  test.clock.forward(3 * DAY_MS);
  await vi.waitFor(async () => expect(await exist([other])).toEqual([false]), WAIT);
  expect(await exist([root, child, grandchild])).toEqual([true, true, true]);
  await test.cancel(root);
  await vi.waitFor(async () => expect(await test.get(grandchild)).toMatchObject({ terminated: true }), WAIT);
  await test.report(reports.threw(leased, { interrupted: true, released: true }));
  test.clock.forward(3 * DAY_MS);
  await vi.waitFor(async () => expect(await exist([root, child, grandchild])).toEqual([false, false, false]), WAIT);
});

it("goes where more are old than one write removes, and where two services remove them", async () => {
  const replica = await test.openReplica();
  replica.service.start();
  const requests = Array.from({ length: 1_000 }, () => test.startRequest("f"));
  const ids: string[] = [];
  for (const requestId of ["1", "2"]) {
    const { outcomes } = await test.client.batchStartInvocations({ requestId, requests });
    for (const { outcome } of outcomes) if (outcome?.$case === "invocationId") ids.push(outcome.value);
  }
  expect(ids).toHaveLength(2_000);
  const kept = ids.splice(700, 1);
  await Promise.all(ids.map((id) => test.cancel(id)));
  test.clock.forward(3 * DAY_MS);
  await vi.waitFor(async () => expect((await rowsOf(ids))["invocations"]).toBe(0), WAIT);
  expect(await exist(kept)).toEqual([true]);
  await replica.end();
});

it("goes where it has printed more than one write removes, and what comes after it too", async () => {
  const id = await test.start("f");
  const [first] = await lease();
  if (first === undefined) throw new Error("one was to be leased");
  const print = async (execution: LeasedExecution) => {
    for (let from = 1; from < 4_000; from += 1_000) await log(execution, 1_000, from);
  };
  await print(first);
  await test.report(reports.threw(first, { released: true }));
  const [again] = await lease();
  if (again === undefined) throw new Error("it was to be leased again");
  await print(again);
  await test.report(reports.returned(again, 1, true));
  const ids = [id, await test.start("f")];
  await test.cancel(ids[1] ?? "");
  expect(await rowsOf(ids)).toMatchObject({ invocations: 2, log_lines: 8_000 });
  test.clock.forward(3 * DAY_MS);
  await vi.waitFor(async () => expect(await exist(ids)).toEqual([false, false]), WAIT);
  expect(await rowsOf(ids)).toMatchObject({ executions: 0, log_lines: 0 });
});

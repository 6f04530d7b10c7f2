/** What comes while the code of a worker is loading, which here holds its thread until a gate is open. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { InterruptReason } from "../../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { GATED } from "./testing/gated_main.js";
import { useWorker } from "./testing/worker_fixture.js";

const fixture = useWorker();

let folder: string;
const gate = () => join(folder, "gate");
const marks = () => join(folder, "marks");

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-loading-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function beginToLoad(): Promise<void> {
  fixture.scheduler.bundles.set(GATED.digest, GATED.bytes);
  fixture.scheduler.bind("mark", GATED.digest, {}, { GATE: gate(), MARKS: marks() });
  fixture.scheduler.assign("e1", ["e1 "]);
  await fixture.scheduler.until(() => fixture.scheduler.lines("e1").length > 0, "the line");
}

describe("an interruption while the code is loading", () => {
  test("keeps the function from beginning", async () => {
    fixture.scheduler.options = { statusIntervalMs: 20 };
    await beginToLoad();
    fixture.scheduler.cancel("e1");
    fixture.scheduler.assign("e2", ["e2 "]);
    const knowsBoth = () => fixture.scheduler.of("status").some(({ executionIds }) => executionIds.includes("e2"));
    await fixture.scheduler.until(knowsBoth, "a status after the interruption");
    await writeFile(gate(), "");
    expect(await fixture.scheduler.outcome("e2")).toEqual({ interrupted: false });
    expect(await fixture.scheduler.outcome("e1")).toEqual({
      error: "InvocationCancelledError: the invocation was cancelled",
      interrupted: true,
    });
    expect(await readFile(marks(), "utf8")).toBe("e2 ");
  });

  test("keeps what has to begin in time from beginning later", async () => {
    fixture.scheduler.options = { statusIntervalMs: 20 };
    await beginToLoad();
    fixture.scheduler.assign("e2", ["e2 "], undefined, 0);
    fixture.scheduler.assign("e3", ["e3 "], undefined, 600_000);
    const knowsAll = () => fixture.scheduler.of("status").some(({ executionIds }) => executionIds.includes("e3"));
    await fixture.scheduler.until(knowsAll, "a status with all of them");
    await writeFile(gate(), "");
    expect(await fixture.scheduler.outcome("e1")).toEqual({ interrupted: false });
    expect(await fixture.scheduler.outcome("e3")).toEqual({ interrupted: false });
    fixture.scheduler.send({ $case: "interrupt", value: { executionId: "e2", reason: InterruptReason.TIMED_OUT } });
    expect(await fixture.scheduler.outcome("e2")).toMatchObject({ interrupted: true });
    // Nor when nothing has to be loaded any more.
    fixture.scheduler.assign("e4", ["e4 "], undefined, 0);
    fixture.scheduler.assign("e5", ["e5 "], undefined, 600_000);
    expect(await fixture.scheduler.outcome("e5")).toEqual({ interrupted: false });
    fixture.scheduler.cancel("e4");
    expect(await fixture.scheduler.outcome("e4")).toMatchObject({ interrupted: true });
    expect(await readFile(marks(), "utf8")).toBe("e1 e3 e5 ");
  });

  test.each([
    ["cancel", InterruptReason.CANCELLED, "InvocationCancelledError: the invocation was cancelled"],
    ["timeout", InterruptReason.TIMED_OUT, /^InvocationTimedOutError: /],
  ])("is the end at once, and not of the others (%s)", async (_, reason, error) => {
    await beginToLoad();
    fixture.scheduler.assign("e2", ["e2 "]);
    fixture.scheduler.send({ $case: "interrupt", value: { executionId: "e1", reason } });
    const ended = await fixture.scheduler.outcome("e1");
    expect(ended).toEqual({ error: expect.stringMatching(error), interrupted: true });
    await writeFile(gate(), "");
    expect(await fixture.scheduler.outcome("e2")).toEqual({ interrupted: false });
    expect(await readFile(marks(), "utf8")).toBe("e2 ");
    expect(fixture.scheduler.of("ended").map(({ executionId }) => executionId)).toEqual(["e1", "e2"]);
  });
});

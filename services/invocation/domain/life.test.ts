/** What holds of every life, whatever happens to it in whatever order. */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { type EndedExecution, isFinished, isQueued, type Life, type LifePolicy, NEW_LIFE } from "./life.js";
import { advance, type LifeEvent } from "./transitions.js";

/** More than a test makes between two changes that stay. */
const RELAXED_REVISIONS = 1_000;
const bytes = fc.uint8Array({ maxLength: 2 });

const events: fc.Arbitrary<LifeEvent> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<LifeEvent>({ type: "lease", executionId: "exe", schedulerId: "sch" }) },
  { weight: 4, arbitrary: fc.constant<LifeEvent>({ type: "start", workerId: "wrk" }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("yield" as const), index: fc.integer({ min: 0, max: 5 }), value: bytes }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("return" as const),
      value: fc.option(bytes),
      interrupted: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("throw" as const),
      error: fc.constantFrom("Error: a", "Error: b"),
      interrupted: fc.boolean(),
      killed: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom<LifeEvent>(
      { type: "release" },
      { type: "release" },
      { type: "giveBack" },
      { type: "cancel" },
      { type: "timeout" },
      { type: "expire" },
    ),
  },
);

function checkLife(life: Life, ended: readonly EndedExecution[], policy: LifePolicy): void {
  // L1, L2
  expect(isQueued(life)).toBe(life.status === "PENDING" && life.current === null);
  if (life.status === "RUNNING" || life.status === "CANCELLING") expect(life.current).not.toBeNull();
  if (isFinished(life)) expect(life.current).toBeNull();
  expect(life.attempts).toBe(ended.length + (life.current === null ? 0 : 1));
  // L3
  expect(life.held).toBeGreaterThanOrEqual(life.current === null ? 0 : 1);
  expect(life.held).toBeLessThanOrEqual(life.attempts);
  expect(life.terminated).toBe(isFinished(life) && life.held === 0);
  // The promises of the semantics.
  expect(life.attempts).toBeLessThanOrEqual(policy.maxRetries + 1);
  expect(life.failedAttempts).toBe(ended.filter(({ outcome }) => outcome === "FAILED").length);
  expect(ended.map(({ attemptNumber }) => attemptNumber)).toEqual(ended.map((_, index) => index + 1));
  expect(isFinished(life)).toBe(life.finishedAt !== null);
  if (life.status === "CANCELLING" || life.status === "CANCELLED") expect(life.cancelRequestedAt).not.toBeNull();
  if (ended.some(({ outcome }) => outcome === "SUCCEEDED")) expect(life.status).toBe("SUCCEEDED");
  if (ended.some(({ outcome }) => outcome === "ABORTED")) expect(["CANCELLED", "TIMED_OUT"]).toContain(life.status);
}

function checkStep(before: Life, after: Life, event: LifeEvent): void {
  // L4: a crash may take back starts and yields, and nothing of what comes then may have a revision of theirs.
  const mayBeLost = ["start", "yield", "release", "giveBack"].includes(event.type);
  expect(after.revision).toBeGreaterThan(mayBeLost ? before.revision : before.revision + RELAXED_REVISIONS);
  expect(Math.abs(after.held - before.held)).toBeLessThanOrEqual(1);
  if (before.current !== null && after.current !== null) {
    expect(after.current.id).toBe(before.current.id);
    expect(after.current.yieldIndex).toBeGreaterThanOrEqual(before.current.yieldIndex);
    if (before.current.interrupt !== null) expect(after.current.interrupt).toBe(before.current.interrupt);
  }
  if (event.type === "yield") expect(after.current?.yieldIndex).toBe(event.index);
  if (before.terminated) expect.fail(`${event.type} changed what was terminated`);
  if (!isFinished(before)) return;
  const { held, terminated, revision } = after; // L5
  expect(after).toEqual({ ...before, held, terminated, revision });
}

it("keeps its invariants through any sequence of events", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 3 }), fc.array(events, { maxLength: 40 }), (maxRetries, sequence) => {
      const policy: LifePolicy = { timeoutMs: 10, maxRetries, retryDelayMs: (failures) => failures };
      const ended: EndedExecution[] = [];
      let life = NEW_LIFE;
      for (const [index, event] of sequence.entries()) {
        const advanced = advance(life, event, index, policy);
        if (typeof advanced === "string") continue;
        if (advanced.ended !== undefined) ended.push(advanced.ended);
        checkStep(life, advanced.life, event);
        life = advanced.life;
        checkLife(life, ended, policy);
      }
    }),
    { numRuns: 3_000 },
  );
});

it("can always be brought to its end", () => {
  const policy: LifePolicy = { timeoutMs: 10, maxRetries: 2, retryDelayMs: () => 0 };
  const step = (life: Life, event: LifeEvent) => {
    const advanced = advance(life, event, 100, policy);
    return typeof advanced === "string" ? life : advanced.life;
  };
  fc.assert(
    fc.property(fc.array(events, { maxLength: 20 }), (sequence) => {
      let life = sequence.reduce(step, NEW_LIFE);
      life = step(life, { type: "cancel" });
      if (!isFinished(life)) life = step(life, { type: "throw", error: "Error: e", interrupted: true, killed: false });
      expect(isFinished(life)).toBe(true);
      while (life.held > 0) life = step(life, { type: "release" });
      expect(life.terminated).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

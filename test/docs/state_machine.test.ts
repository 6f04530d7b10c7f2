/** The table of the state machine in docs/architecture.md is what the state machine does. */
import { expect, test } from "vitest";
import { type Life, NEW_LIFE } from "../../services/invocation/domain/life.js";
import { advance, type LifeEvent, phaseOf } from "../../services/invocation/domain/transitions.js";
import { readDocument } from "./documents.js";
import { tableRows } from "./tables.js";

const POLICY = { timeoutMs: 1_000, maxRetries: 0, retryDelayMs: () => 0 };

const LEASE: LifeEvent = { type: "lease", executionId: "exe", schedulerId: "sch" };
const START: LifeEvent = { type: "start", workerId: "wrk" };
const RETURN: LifeEvent = { type: "return", value: null, interrupted: false };

const LIVES: readonly Life[] = [
  NEW_LIFE,
  after(LEASE),
  after(LEASE, START),
  after(LEASE, START, { type: "timeout" }),
  after(LEASE, START, { type: "cancel" }),
  after(LEASE, START, RETURN),
];

const EVENTS: Readonly<Record<string, LifeEvent>> = {
  lease: LEASE,
  start: START,
  yield: { type: "yield", index: 1, value: new Uint8Array() },
  return: RETURN,
  "return, interrupted": { ...RETURN, interrupted: true },
  throw: { type: "throw", error: "Error: x", interrupted: false, killed: false },
  "throw, interrupted": { type: "throw", error: "Error: x", interrupted: true, killed: false },
  giveBack: { type: "giveBack" },
  release: { type: "release" },
  cancel: { type: "cancel" },
  timeout: { type: "timeout" },
  expire: { type: "expire" },
};

function after(...events: readonly LifeEvent[]): Life {
  return events.reduce((life, event) => {
    const advanced = advance(life, event, 1, POLICY);
    if (typeof advanced === "string") throw new Error(`${event.type} was ${advanced}`);
    return advanced.life;
  }, NEW_LIFE);
}

function cell(life: Life, event: LifeEvent): string {
  const advanced = advance(life, event, 2, POLICY);
  if (advanced === "ignored") return "–";
  return typeof advanced === "string" ? advanced : phaseOf(advanced.life);
}

test("docs/architecture.md shows every event in every phase", () => {
  const rows = tableRows(readDocument("docs/architecture.md").text, ["event", "QUEUED", "PROVISIONING"]);
  const made = Object.entries(EVENTS).map(([name, event]) => [name, ...LIVES.map((life) => cell(life, event))]);
  expect(rows).toEqual(made);
});

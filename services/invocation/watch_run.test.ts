/** A call that begins and ends with one change: watchers are told of what was in between. */
import { beforeEach, expect, it } from "vitest";
import { Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import { WatchDetail, WatchTarget } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { MemoryBus } from "../platform/bus/memory.js";
import { type Life, NEW_LIFE } from "./domain/life.js";
import { Store, stateOf } from "./test_watch.js";
import { WatchHub } from "./watch_hub.js";
import { WatchSession } from "./watch_session.js";

const PENDING = { status: "PENDING", revision: 1 } as const;
const ENDED = { status: "SUCCEEDED", revision: 9, startedAt: 3, finishedAt: 5 } as const;

const CURRENT = {
  id: "exe",
  epoch: 1,
  schedulerId: "s",
  workerId: "",
  createdAt: 1,
  deadlineAt: null,
  startedAt: null,
  interrupt: null,
  interruptedAt: null,
  yieldIndex: 0,
};
const ENDED_EXECUTION = {
  id: "exe",
  attemptNumber: 1,
  epoch: 1,
  schedulerId: "s",
  workerId: "w",
  outcome: "FAILED" as const,
  error: "Error: boom",
  createdAt: 1,
  startedAt: null,
  finishedAt: 50,
};

let hub: WatchHub;
let store: Store;
let session: WatchSession;

beforeEach(() => {
  hub = new WatchHub(new MemoryBus());
  store = new Store();
  session = new WatchSession(hub, store);
});

/** Watches one that waits, and answers what is told of it after it was changed so. */
async function toldOf(change: Partial<Life>, detail: WatchDetail = WatchDetail.UNSPECIFIED) {
  const waiting = stateOf("a", PENDING);
  store.states.set("a", waiting);
  session.add(WatchTarget.fromPartial({ invocationId: "a", detail }));
  await session.next();
  const { identity, life } = stateOf("a", change);
  store.states.set("a", { identity, life });
  hub.offer([{ identity, before: NEW_LIFE, after: life, ended: [], released: [] }]);
  const { invocations = [] } = (await session.next()) ?? {};
  return invocations.map((each) => [each.status, each.startTimeMs, each.finishTimeMs, each.numFailedAttempts]);
}

it("was RUNNING, where it succeeded", async () => {
  expect(await toldOf(ENDED)).toEqual([
    [Status.RUNNING, 3, undefined, 0],
    [Status.SUCCEEDED, 3, 5, 0],
  ]);
});

it("was RUNNING, where it failed, and had not failed then", async () => {
  expect(await toldOf({ ...ENDED, status: "FAILED", failedAttempts: 1 })).toEqual([
    [Status.RUNNING, 3, undefined, 0],
    [Status.FAILED, 3, 5, 1],
  ]);
});

it("was not RUNNING where it never began", async () => {
  const change = { ...ENDED, status: "CANCELLED", startedAt: null } as const;
  expect(await toldOf(change)).toEqual([[Status.CANCELLED, undefined, 5, 0]]);
});

it("was RUNNING once, where that was told too and waits to be sent", async () => {
  store.states.set("a", stateOf("a", PENDING));
  session.add(WatchTarget.fromPartial({ invocationId: "a" }));
  await session.next();
  const running = { status: "RUNNING", revision: 2, startedAt: 3 } as const;
  for (const change of [running, { ...ENDED, revision: 2 ** 24 }]) {
    const { identity, life } = stateOf("a", change);
    store.states.set("a", { identity, life });
    hub.offer([{ identity, before: NEW_LIFE, after: life, ended: [], released: [] }]);
  }
  const { invocations = [] } = (await session.next()) ?? {};
  expect(invocations.map(({ revision }) => revision)).toEqual([2, 2 ** 24]);
});

it("was RUNNING in each attempt that began and failed, and not in one that never began", async () => {
  session.add(WatchTarget.fromPartial({ invocationId: "a" }));
  const told: [string, number][] = [];
  let before: Life = { ...NEW_LIFE, ...PENDING };
  const tell = async (after: Life, startedAt?: number | null) => {
    const { identity } = stateOf("a", after);
    store.states.set("a", { identity, life: after });
    const ended = startedAt === undefined ? [] : [{ ...ENDED_EXECUTION, startedAt }];
    hub.offer([{ identity, before, after, ended, released: [] }]);
    before = after;
    for (const { status, numFailedAttempts } of (await session.next())?.invocations ?? [])
      told.push([status === Status.RUNNING ? "RUNNING" : "PENDING", numFailedAttempts]);
  };
  for (const [failures, startedAt] of [10, null, 30].entries()) {
    const current = { ...CURRENT, startedAt: null };
    await tell({ ...before, current, revision: before.revision + 1 });
    const revision = 2 ** 24 * (failures + 1);
    const failed = { ...before, current: null, failedAttempts: failures + 1, revision };
    await tell({ ...failed, startedAt: before.startedAt ?? startedAt }, startedAt);
  }
  const steps = told.filter(([status, failures], index) => `${status}${failures}` !== told[index - 1]?.join(""));
  expect(steps.map((step) => step.join(" "))).toEqual([
    "PENDING 0",
    "RUNNING 0",
    "PENDING 1",
    "PENDING 2",
    "RUNNING 2",
    "PENDING 3",
  ]);
});

it("nothing of it is told to who waits for the end", async () => {
  expect(await toldOf(ENDED, WatchDetail.END)).toEqual([[Status.SUCCEEDED, 3, 5, 0]]);
});

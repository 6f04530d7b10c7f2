import { Status as Code } from "nice-grpc";
import { beforeEach, describe, expect, it } from "vitest";
import { type Invocation, Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import {
  WatchDetail,
  type WatchInvocationsResponse,
  WatchTarget,
  WatchUntil,
} from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { MemoryBus } from "../platform/bus/memory.js";
import { type Life, NEW_LIFE } from "./domain/life.js";
import type { Change } from "./store.js";
import { Store, stateOf } from "./test_watch.js";
import { progressOf, WatchHub } from "./watch_hub.js";
import { WatchSession } from "./watch_session.js";

let bus: MemoryBus;
let hub: WatchHub;
let store: Store;
let session: WatchSession;

beforeEach(() => {
  bus = new MemoryBus();
  hub = new WatchHub(bus);
  store = new Store();
  session = new WatchSession(hub, store);
});

const watch = (invocationId: string, more: Partial<WatchTarget> = {}) =>
  session.add(WatchTarget.fromPartial({ invocationId, ...more }));

/** Stores a state and tells nobody. */
function put(id: string, life: Partial<Life>): Change {
  const state = stateOf(id, life);
  const before = store.states.get(id)?.life ?? NEW_LIFE;
  store.states.set(id, state);
  return { identity: state.identity, before, after: state.life, ended: [], released: [] };
}

const running = (revision: number): Partial<Life> => ({ status: "RUNNING", revision });
const finished = (revision: number, terminated = false): Partial<Life> => ({
  status: "SUCCEEDED",
  revision,
  finishedAt: 5,
  terminated,
});

/** All that the session has to send now. */
async function sent(): Promise<{ revisions: [string, number][]; refused: string[]; messages: number }> {
  const messages: WatchInvocationsResponse[] = [];
  for (let i = 0; session.hasWork; i++) {
    if (i > 1_000) throw new Error("there is no end of work");
    const message = await session.next();
    if (message !== undefined) messages.push(message);
  }
  return {
    revisions: messages
      .flatMap(({ invocations }) => invocations)
      .map(({ invocationId, revision }) => [invocationId, revision]),
    refused: messages.flatMap(({ refusals }) => refusals).map(({ invocationId }) => invocationId),
    messages: messages.length,
  };
}

const revisions = async () => (await sent()).revisions;
const hint = (id: string) => {
  const state = store.states.get(id);
  if (state === undefined) throw new Error(`there is no ${id}`);
  bus.publish({ $case: "invocations", value: { invocations: [{ invocationId: id, ...progressOf(state.life) }] } });
};
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe("a watcher", () => {
  it("is not refused what changes elsewhere while other states are read", async () => {
    put("a", running(1));
    put("b", running(1));
    watch("a");
    await revisions();
    hub.offer([put("a", running(2))]);
    watch("b");
    store.duringLoad = () => {
      store.duringLoad = () => {};
      put("a", running(3));
      hint("a"); // without the state, which replaces that which was offered
    };
    expect(await sent()).toMatchObject({
      refused: [],
      revisions: [
        ["a", 2],
        ["b", 1],
        ["a", 3],
      ],
    });
  });

  it("gets the state now, then every change, until the end", async () => {
    put("a", running(3));
    watch("a");
    expect(await revisions()).toEqual([["a", 3]]);
    for (const life of [running(4), running(5)]) {
      hub.offer([put("a", life)]);
      expect(await revisions()).toEqual([["a", life.revision]]);
    }
    hub.offer([put("a", finished(6))]);
    expect(await revisions()).toEqual([["a", 6]]);
    expect(session.size).toBe(0);
    hub.offer([put("a", finished(7, true))]);
    expect(await revisions()).toEqual([]);
  });

  it("goes on from the revision that it has", async () => {
    put("a", running(3));
    watch("a", { afterRevision: 3 });
    expect(await revisions()).toEqual([]);
    hub.offer([put("a", running(3))]);
    expect(session.hasWork).toBe(false);
    hub.offer([put("a", running(4))]);
    expect(await revisions()).toEqual([["a", 4]]);
  });

  it("gets what has ended even if it has it, since it waits for the end", async () => {
    put("a", finished(6));
    watch("a", { afterRevision: 6 });
    expect(await revisions()).toEqual([["a", 6]]);
    expect(session.size).toBe(0);
  });

  it("may wait for the termination", async () => {
    put("a", finished(6));
    watch("a", { until: WatchUntil.TERMINATED });
    expect(await revisions()).toEqual([["a", 6]]);
    expect(session.size).toBe(1);
    hub.offer([put("a", finished(7, true))]);
    expect(await revisions()).toEqual([["a", 7]]);
    expect(session.size).toBe(0);
  });

  it("may ask for the end only", async () => {
    put("a", running(2));
    watch("a", { detail: WatchDetail.END });
    expect(await revisions()).toEqual([]);
    hub.offer([put("a", running(3))]);
    expect(session.hasWork).toBe(false);
    hub.offer([put("a", finished(4))]);
    expect(await revisions()).toEqual([["a", 4]]);
  });

  it("that asks for the end only reads nothing where what runs is at hand", async () => {
    store.atHand.set("a", stateOf("a", running(2)));
    watch("a", { detail: WatchDetail.END });
    expect(session.hasWork).toBe(false);
    hub.offer([put("a", finished(4))]);
    expect(await revisions()).toEqual([["a", 4]]);
    expect(store.loads).toEqual([]);
  });

  it("that may not see what is at hand is refused", async () => {
    store.atHand.set("a", stateOf("a", running(2)));
    put("a", running(2));
    store.hidden.add("a");
    watch("a", { detail: WatchDetail.END });
    expect((await sent()).refused).toEqual(["a"]);
  });

  it("that asks for the end only gets it where it reads of it by chance", async () => {
    put("a", running(2));
    watch("a", { detail: WatchDetail.END });
    await sent();
    put("a", finished(4)); // the hint is lost
    session.markAll();
    expect(await revisions()).toEqual([["a", 4]]);
  });

  it("may leave, and come again", async () => {
    put("a", running(1));
    watch("a");
    session.remove("a");
    expect(await sent()).toMatchObject({ revisions: [], refused: [] });
    hub.offer([put("a", running(2))]);
    expect(session.hasWork).toBe(false);
    watch("a", { afterRevision: 1 });
    expect(await revisions()).toEqual([["a", 2]]);
  });
});

describe("changes", () => {
  it("that come faster than they are read are merged into the newest", async () => {
    put("a", running(1));
    watch("a");
    for (let revision = 2; revision <= 500; revision++) hub.offer([put("a", running(revision))]);
    expect(await sent()).toMatchObject({ revisions: [["a", 500]], messages: 1 });
  });

  it("of the status are all sent, however slowly they are read", async () => {
    put("a", { revision: 1 });
    watch("a");
    await sent();
    const failed: Partial<Life> = { revision: 5, failedAttempts: 1 };
    const again: Partial<Life> = { ...running(6), failedAttempts: 1 };
    for (const life of [running(2), running(3), running(4), failed, again, finished(7)]) hub.offer([put("a", life)]);
    store.loads.length = 0;
    expect(await sent()).toMatchObject({ revisions: [4, 5, 6, 7].map((revision) => ["a", revision]), messages: 1 });
    expect(store.loads).toEqual([]);
    expect(session.size).toBe(0);
  });

  it("of this process are not read from the store", async () => {
    put("a", running(1));
    watch("a");
    await sent();
    store.loads.length = 0;
    hub.offer([put("a", running(2))]);
    hint("a");
    await nextTurn();
    expect(await revisions()).toEqual([["a", 2]]);
    expect(store.loads).toEqual([]);
  });

  it("of another process are read where a hint tells of them", async () => {
    put("a", running(1));
    watch("a");
    await sent();
    put("a", running(2));
    hint("a");
    await nextTurn();
    expect(await revisions()).toEqual([["a", 2]]);
  });

  it("that are told in the wrong order lose nothing", async () => {
    put("a", running(1));
    watch("a");
    await sent();
    const [older, newer] = [put("a", running(2)), put("a", running(3))];
    hub.offer([newer]);
    hub.offer([older]);
    expect(await revisions()).toEqual([["a", 3]]);
    expect(await revisions()).toEqual([]);
  });

  it("of another process are not lost behind an older one of this process", async () => {
    put("a", running(1));
    watch("a");
    await sent();
    hub.offer([put("a", running(2))]);
    put("a", running(3));
    hint("a");
    await nextTurn();
    expect(await revisions()).toEqual([["a", 3]]);
  });

  it("that come while the store is read are sent (W1)", async () => {
    put("a", running(1));
    watch("a");
    let times = 0;
    store.duringLoad = () => {
      times += 1;
      if (times === 1) put("a", running(2));
      if (times === 1) hint("a");
    };
    const seen = await revisions();
    await nextTurn();
    expect([...seen, ...(await revisions())].at(-1)).toEqual(["a", 2]);
  });

  it("that come while the store is read, with their state, win over what was read", async () => {
    put("a", running(1));
    watch("a");
    let times = 0;
    store.duringLoad = () => {
      times += 1;
      if (times === 1) hub.offer([put("a", running(2))]);
    };
    expect((await revisions()).at(-1)).toEqual(["a", 2]);
    expect(await revisions()).toEqual([]);
  });

  it("whose hints were lost are found by looking at everything (W3)", async () => {
    for (const id of ["a", "b"]) {
      put(id, running(1));
      watch(id);
    }
    await sent();
    put("b", running(2));
    session.markAll();
    expect(await revisions()).toEqual([["b", 2]]);
  });

  it("never go back, whatever is told", async () => {
    put("a", running(5));
    watch("a");
    expect(await revisions()).toEqual([["a", 5]]);
    hub.offer([{ ...put("a", running(4)), before: NEW_LIFE }]);
    session.markAll();
    expect(await revisions()).toEqual([]);
  });
});

describe("many invocations", () => {
  it("travel in messages of a bounded number, none twice", async () => {
    const ids = Array.from({ length: 2_500 }, (_, index) => `i${index}`);
    for (const id of ids) {
      put(id, finished(2, true));
      watch(id);
    }
    const { revisions: all, messages } = await sent();
    expect(all.map(([id]) => id).sort()).toEqual([...ids].sort());
    expect(messages).toBe(3);
    expect(store.loads.every((load) => load.length <= LIMITS.watchTargetsPerMessage)).toBe(true);
    expect(session.size).toBe(0);
  });

  it("travel in messages of a bounded size", async () => {
    const result = new Uint8Array(250_000);
    for (let index = 0; index < 20; index++) {
      put(`i${index}`, { ...running(2), result });
      watch(`i${index}`);
    }
    const message = (await session.next()) ?? { invocations: [], refusals: [] };
    const bytes = (invocation: Invocation) => invocation.result?.data.byteLength ?? 0;
    expect(message.invocations.reduce((sum, invocation) => sum + bytes(invocation), 0)).toBeLessThan(
      2 * LIMITS.watchMessageBytes,
    );
    expect(message.invocations.length + (await sent()).revisions.length).toBe(20);
  });

  it("are not all looked at because one changed", async () => {
    for (let index = 0; index < 1_000; index++) {
      put(`i${index}`, running(1));
      watch(`i${index}`);
    }
    await sent();
    store.loads.length = 0;
    put("i7", running(2));
    hint("i7");
    await nextTurn();
    expect(await revisions()).toEqual([["i7", 2]]);
    expect(store.loads).toEqual([["i7"]]);
  });
});

describe("refusals", () => {
  it("name what does not exist and what may not be seen, alike, and the rest goes on", async () => {
    put("a", running(1));
    put("secret", running(1));
    store.hidden.add("secret");
    for (const id of ["a", "nothing", "secret"]) watch(id);
    expect(await sent()).toMatchObject({ revisions: [["a", 1]], refused: ["nothing", "secret"] });
    expect(session.size).toBe(1);
    hub.offer([put("secret", running(2))]);
    expect(session.hasWork).toBe(false);
  });

  it("say that a stream is full", async () => {
    for (let index = 0; index < LIMITS.watchTargets; index++) watch(`i${index}`);
    watch("i0"); // which it follows already
    watch("more");
    expect(session.size).toBe(LIMITS.watchTargets);
    const message = await session.next();
    const refusal = message?.refusals.find(({ invocationId }) => invocationId === "more");
    expect(refusal?.error).toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  });

  it("are not kept without end where nobody reads them", () => {
    for (let index = 0; index < LIMITS.watchTargets; index++) watch(`i${index}`);
    const more = () => {
      for (let index = 0; index < LIMITS.watchTargets; index++) watch(`more${index}`);
    };
    expect(more).toThrow("its refusals are not read");
  });
});

describe("waiting", () => {
  it("ends when there is something to send, when the time is over, and when it is broken off", async () => {
    const never = new AbortController().signal;
    put("a", running(1));
    watch("a");
    await session.wait(60_000, never);
    await sent();
    const waiting = session.wait(60_000, never);
    hub.offer([put("a", running(2))]);
    await waiting;
    await sent();
    await session.wait(1, never);
    const breaking = new AbortController();
    const broken = session.wait(60_000, breaking.signal);
    breaking.abort();
    await broken;
    await session.wait(60_000, breaking.signal);
  });

  it("is over for a session that is closed, and nobody marks it any more", async () => {
    put("a", running(1));
    watch("a");
    await sent();
    session.close();
    hub.offer([put("a", running(2))]);
    expect(session.hasWork).toBe(false);
    expect(session.size).toBe(0);
  });
});

it("sends a whole invocation", async () => {
  put("a", { ...finished(9, true), error: "Error: e", failedAttempts: 2, startedAt: 3, status: "FAILED" });
  watch("a");
  const message = await session.next();
  expect(message?.invocations).toMatchObject([
    {
      invocationId: "a",
      projectName: "p",
      functionName: "f",
      status: Status.FAILED,
      revision: 9,
      error: "Error: e",
      terminated: true,
      numFailedAttempts: 2,
      startTimeMs: 3,
      finishTimeMs: 5,
    },
  ]);
});

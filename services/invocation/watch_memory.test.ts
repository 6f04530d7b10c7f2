/** What a watch stream keeps in memory of the states that its reader has not taken yet. */
import { beforeEach, expect, it } from "vitest";
import { WatchTarget } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { Payload } from "../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { MemoryBus } from "../platform/bus/memory.js";
import { NEW_LIFE } from "./domain/life.js";
import type { Change, StoredInvocation } from "./store.js";
import { stateOf } from "./test_watch.js";
import { progressOf, WatchHub } from "./watch_hub.js";
import { WatchSession } from "./watch_session.js";

const RESULT = Payload.encode(Payload.fromPartial({ data: new Uint8Array(240_000) })).finish();
const IDS = Array.from({ length: 200 }, (_, index) => `inv-${index}`);
/** So many are kept. */
const KEPT = Math.floor((2 * LIMITS.watchMessageBytes) / RESULT.byteLength);
const FEW = IDS.slice(0, KEPT);

let bus: MemoryBus;
let hub: WatchHub;
let session: WatchSession;
let stored: Map<string, StoredInvocation>;
let read: string[];
let duringLoad = () => {};

beforeEach(async () => {
  bus = new MemoryBus();
  hub = new WatchHub(bus);
  stored = new Map();
  read = [];
  duringLoad = () => {};
  session = new WatchSession(hub, {
    known: () => undefined,
    load: async (ids) => {
      read.push(...ids);
      duringLoad();
      return ids.map((id) => stored.get(id)).filter((state) => state !== undefined);
    },
    refusal: () => undefined,
  });
  for (const id of IDS) {
    put(id, 1, null);
    watch(id);
  }
  await sent();
  read = [];
});

function watch(invocationId: string): void {
  session.add(WatchTarget.fromPartial({ invocationId, afterRevision: stored.get(invocationId)?.life.revision ?? 0 }));
}

/** Stores a state and tells nobody. */
function put(id: string, revision: number, result: Uint8Array | null = RESULT): Change {
  const state = stateOf(id, { status: "RUNNING", revision, result });
  stored.set(id, state);
  return { identity: state.identity, before: NEW_LIFE, after: state.life, ended: [], released: [] };
}

function offer(ids: readonly string[], revision: number, result?: null): void {
  for (const id of ids) hub.offer([put(id, revision, result)]);
}

function hint({ identity, after }: Change): void {
  bus.publish({ $case: "invocations", value: { invocations: [{ invocationId: identity.id, ...progressOf(after) }] } });
}

/** All that the session has to send now, each as its id and revision. */
async function sent(): Promise<string[]> {
  const all: string[] = [];
  while (session.hasWork) {
    for (const { invocationId, revision } of (await session.next())?.invocations ?? []) {
      all.push(`${invocationId} ${revision}`);
    }
  }
  return all.sort();
}

/** How many of the states that are offered to a reader who stands still need not be read afterwards. */
async function keptOf(ids: readonly string[], revision: number): Promise<number> {
  offer(ids, revision);
  read = [];
  expect(await sent()).toEqual(ids.map((id) => `${id} ${revision}`).sort());
  // One for which there is no room in a message is read again for the next.
  return ids.length - new Set(read).size;
}

it("is so many bytes, and the others are read when they are sent", async () => {
  expect(await keptOf(IDS, 2)).toBe(KEPT);
  expect(await keptOf(IDS, 3)).toBe(KEPT);
  expect(await keptOf(FEW, 4)).toBe(KEPT);
});

it("is not more after states were replaced, left, or followed anew, and all is free again after each", async () => {
  offer(FEW, 2);
  offer(FEW, 3, null);
  offer(FEW, 4);
  for (const id of FEW) session.remove(id);
  for (const id of FEW) watch(id);
  await sent();
  expect(await keptOf(FEW, 5)).toBe(KEPT);
  offer(FEW, 6);
  for (const id of FEW) watch(id);
  await sent();
  expect(await keptOf(FEW, 7)).toBe(KEPT);
  expect(await keptOf([...FEW, "inv-100"], 8)).toBe(KEPT);
});

it("is no older state for which there was room while there was none for the newer one", async () => {
  offer(FEW, 2);
  const [older, newer] = [put("inv-100", 2, null), put("inv-100", 3)];
  hub.offer([newer]);
  hub.offer([older]);
  expect(await sent()).toContain("inv-100 3");
});

it("is not all that is read at once for one message", async () => {
  for (const id of IDS) {
    hint(put(id, 2));
  }
  await new Promise((resolve) => setImmediate(resolve));
  const message = await session.next();
  expect(message?.invocations).toHaveLength(Math.ceil(LIMITS.watchMessageBytes / RESULT.byteLength));
  expect(read.length).toBeLessThan(IDS.length / 2);
  expect(await sent()).toHaveLength(IDS.length - (message?.invocations.length ?? 0));
});

it("is no longer what gave way to a newer state while another was read, and that is sent all the same", async () => {
  const [last = "", other = ""] = IDS.slice(-2);
  hint(put(other, 2, null));
  offer([last], 2, null);
  await new Promise((resolve) => setImmediate(resolve));
  duringLoad = () => {
    duringLoad = () => {};
    offer(FEW, 2);
    offer([last], 3);
  };
  const messages = [await session.next()];
  while (session.hasWork) messages.push(await session.next());
  expect(messages.flatMap((message) => message?.refusals ?? [])).toEqual([]);
  const states = messages.flatMap((message) => message?.invocations ?? []);
  expect(states.filter(({ invocationId }) => invocationId === last).at(-1)?.revision).toBe(3);
});

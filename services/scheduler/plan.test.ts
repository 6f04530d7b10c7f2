import { describe, expect, it } from "vitest";
import { type FunctionShape, type Plan, plan, type Situation, type WaitingView, type WorkerView } from "./plan.js";
import { ANY_SIZE, STANDARD_IMAGE } from "./workers/worker_kind.js";

const FRESH: FunctionShape = {
  key: "v/fresh",
  workerConcurrency: 1,
  maxInvocationsPerWorker: 1,
  idleTimeoutMs: 1_000,
  image: STANDARD_IMAGE,
  size: "1 1",
};
const WARM: FunctionShape = {
  key: "v/warm",
  workerConcurrency: 1,
  maxInvocationsPerWorker: Number.POSITIVE_INFINITY,
  idleTimeoutMs: 1_000,
  image: STANDARD_IMAGE,
  size: "1 1",
};
const WIDE: FunctionShape = { ...WARM, key: "v/wide", workerConcurrency: 4 };
const STANDARD = { image: STANDARD_IMAGE, size: ANY_SIZE };
const NOW = 10_000;

function decide(situation: Partial<Situation>): Plan {
  return plan({
    now: NOW,
    workers: [],
    waiting: [],
    standing: [],
    maxWorkers: 4,
    spareWorkers: 0,
    spareSize: ANY_SIZE,
    ...situation,
  });
}

function worker(id: string, phase: WorkerView["phase"], more: Partial<WorkerView> = {}): WorkerView {
  return { id, phase, ...STANDARD, shape: undefined, running: 0, taken: 0, idleSince: NOW, ...more };
}

const active = (id: string, shape: FunctionShape, running = 0, taken = running, idleSince = NOW) =>
  worker(id, "active", { shape, running, taken, idleSince });

function waiting(shape: FunctionShape, count: number, from = 1): WaitingView[] {
  return Array.from({ length: count }, (_, index) => ({ executionId: `${shape.key}#${from + index}`, shape }));
}

const standard = (count: number) => Array.from({ length: count }, () => STANDARD);

const placesOf = ({ assign }: Plan) => assign.map(({ executionId, workerId }) => `${executionId}>${workerId}`);

describe("spares", () => {
  it("are started up to their number, those on their way included", () => {
    expect(decide({ spareWorkers: 3 })).toMatchObject({ start: [], refill: standard(3) });
    expect(decide({ spareWorkers: 3, workers: [worker("a", "starting"), worker("b", "spare")] }).refill).toEqual(
      standard(1),
    );
    expect(decide({ spareWorkers: 9 }).refill).toEqual(standard(4));
  });

  it("are given to what has waited longest, and replaced", () => {
    const decided = decide({
      spareWorkers: 1,
      workers: [worker("a", "spare")],
      waiting: [...waiting(FRESH, 1), ...waiting(WARM, 1)],
    });
    expect(placesOf(decided)).toEqual(["v/fresh#1>a"]);
    expect(decided).toMatchObject({ start: standard(1), refill: standard(1) }); // one that is waited for, and the spare
  });

  it("are not used while they boot or end", () => {
    const workers = [worker("a", "starting"), worker("b", "stopping")];
    expect(decide({ workers, waiting: waiting(FRESH, 1) }).assign).toEqual([]);
  });
});

describe("a fresh worker", () => {
  it("takes one execution and no second, and is stopped after it", () => {
    expect(decide({ workers: [active("a", FRESH, 1)], waiting: waiting(FRESH, 1) }).assign).toEqual([]);
    const done = decide({ workers: [active("a", FRESH, 0, 1)], waiting: waiting(FRESH, 1) });
    expect(done).toMatchObject({ assign: [], stop: ["a"] });
  });

  it("is not shared by executions that wait at the same time", () => {
    const decided = decide({ workers: [worker("a", "spare"), worker("b", "spare")], waiting: waiting(FRESH, 3) });
    expect(placesOf(decided)).toEqual(["v/fresh#1>a", "v/fresh#2>b"]);
  });
});

describe("a warm worker", () => {
  it("is used again, by its own function only", () => {
    expect(placesOf(decide({ workers: [active("a", WARM, 0, 7)], waiting: waiting(WARM, 2) }))).toEqual(["v/warm#1>a"]);
    expect(decide({ workers: [active("a", WARM)], waiting: waiting(WIDE, 1) }).assign).toEqual([]);
  });

  it("runs as many side by side as it may, the fullest one first", () => {
    const workers = [active("a", WIDE, 1), active("b", WIDE, 3)];
    expect(placesOf(decide({ workers, waiting: waiting(WIDE, 3) }))).toEqual([
      "v/wide#1>b",
      "v/wide#2>a",
      "v/wide#3>a",
    ]);
  });

  it("takes no more than it may in its life, and ends when they have", () => {
    const shape = { ...WIDE, maxInvocationsPerWorker: 5 };
    expect(decide({ workers: [active("a", shape, 2, 4)], waiting: waiting(shape, 3) }).assign).toHaveLength(1);
    expect(decide({ workers: [active("a", shape, 1, 5)], waiting: waiting(shape, 1) })).toMatchObject({
      assign: [],
      stop: [],
    });
    expect(decide({ workers: [active("a", shape, 0, 5)] }).stop).toEqual(["a"]);
  });

  it("is stopped after its idle timeout, unless it is kept", () => {
    const workers = [active("a", WARM, 0, 1, NOW - 1_000), active("b", WARM, 0, 1, NOW - 400)];
    expect(decide({ workers })).toMatchObject({ stop: ["a"], nextIdleAt: NOW + 600 });
    const kept = decide({ workers, standing: [{ shape: WARM, minWorkers: 2 }] });
    expect(kept).toMatchObject({ stop: [], nextIdleAt: undefined });
    expect(decide({ workers, standing: [{ shape: WARM, minWorkers: 1 }] }).stop).toEqual(["a"]);
  });

  it("is not stopped for its idleness while it runs or when it is given something now", () => {
    const workers = [active("a", WARM, 1, 1, NOW - 5_000), active("b", WARM, 0, 1, NOW - 5_000)];
    expect(decide({ workers, waiting: waiting(WARM, 1) }).stop).toEqual([]);
  });

  it("that drains takes nothing and ends when it is idle", () => {
    const draining = (running: number) => worker("a", "draining", { shape: WIDE, running, taken: 9 });
    expect(decide({ workers: [draining(1)], waiting: waiting(WIDE, 1) })).toMatchObject({ assign: [], stop: [] });
    expect(decide({ workers: [draining(0)] }).stop).toEqual(["a"]);
  });
});

describe("functions that keep workers", () => {
  const standing = [{ shape: WARM, minWorkers: 2 }];

  it("are given spares, and more are started", () => {
    const decided = decide({ standing, workers: [worker("a", "spare")] });
    expect(decided.warm).toEqual([{ workerId: "a", shape: WARM }]);
    expect(decided.start).toEqual(standard(1));
  });

  it("come after what waits", () => {
    const decided = decide({ standing, workers: [worker("a", "spare")], waiting: waiting(FRESH, 1) });
    expect(placesOf(decided)).toEqual(["v/fresh#1>a"]);
    expect(decided.warm).toEqual([]);
  });

  it("do not replace each other where there is no room for all", () => {
    const workers = [active("a", WARM), active("b", WARM), active("c", WIDE), active("d", WIDE)];
    const others = [...standing, { shape: WIDE, minWorkers: 2 }, { shape: { ...WARM, key: "v/third" }, minWorkers: 2 }];
    expect(decide({ workers, standing: others })).toMatchObject({ stop: [], start: standard(0) });
  });
});

describe("what waits while there is no room", () => {
  it("makes the longest idle worker give way, of those that nobody wants kept", () => {
    const workers = [
      active("a", WARM, 0, 1, NOW - 9),
      active("b", WIDE, 0, 1, NOW - 5),
      active("c", WIDE, 0, 1, NOW - 6),
    ];
    const standing = [{ shape: WARM, minWorkers: 1 }];
    expect(decide({ maxWorkers: 3, workers, standing, waiting: waiting(FRESH, 1) }).stop).toEqual(["c"]);
    expect(decide({ maxWorkers: 3, workers, standing, waiting: waiting(FRESH, 3) }).stop).toEqual(["c", "b", "a"]);
  });

  it("makes no more of them give way than it needs, also while the first ones are ending", () => {
    const workers = [worker("a", "stopping", { shape: WARM }), active("b", WARM), active("c", WARM)];
    expect(decide({ maxWorkers: 3, workers, waiting: waiting(FRESH, 1) }).stop).toEqual([]);
    expect(decide({ maxWorkers: 4, workers, waiting: waiting(FRESH, 2) }).stop).toEqual([]);
    expect(decide({ maxWorkers: 3, workers, waiting: waiting(FRESH, 2) }).stop).toEqual(["b"]);
    const wide = decide({ maxWorkers: 3, workers, waiting: waiting({ ...WIDE, key: "v/other" }, 5) });
    expect(wide.stop).toEqual(["b"]); // two workers for five executions
  });

  // In a time that grows with the square of them it would not end within the time of a test.
  it("is planned for many thousands", () => {
    const count = 20_000;
    const workers = Array.from({ length: count }, (_, index) => active(`${index}`, WIDE, 0, 1, NOW - index));
    const decided = decide({
      maxWorkers: count,
      workers,
      standing: [{ shape: WIDE, minWorkers: count / 2 }],
      waiting: waiting(FRESH, count),
    });
    expect(decided.stop).toEqual(workers.map(({ id }) => id).reverse());
  });

  it("is not passed by younger executions of a function whose workers are never idle", () => {
    const workers = [active("a", WIDE, 3, 90), active("b", WIDE, 2, 90)];
    const decided = decide({ maxWorkers: 2, workers, waiting: [...waiting(WARM, 1), ...waiting(WIDE, 4)] });
    expect(placesOf(decided)).toEqual(["v/wide#1>a"]);
    expect(decided.room).toBe(0);
    // The one that runs empty takes nothing until it is, and then gives way.
    const later = decide({
      maxWorkers: 2,
      workers: [active("a", WIDE, 4, 91), active("b", WIDE, 0, 90)],
      waiting: waiting(WARM, 1),
    });
    expect(later.stop).toEqual(["b"]);
  });

  it("does not hold up older executions of the others", () => {
    const workers = [active("a", WIDE, 3, 90)];
    const decided = decide({ maxWorkers: 1, workers, waiting: [...waiting(WIDE, 1), ...waiting(WARM, 1)] });
    expect(placesOf(decided)).toEqual(["v/wide#1>a"]);
  });
});

describe("room", () => {
  it("is what could be placed if it were leased now", () => {
    expect(decide({})).toMatchObject({ room: 4, roomForOthers: true });
    expect(decide({ workers: [active("a", FRESH, 1)] }).room).toBe(3);
    expect(decide({ workers: [active("a", WIDE, 1)] }).room).toBe(6);
    expect(decide({ workers: [worker("a", "spare")], waiting: waiting(FRESH, 1) }).room).toBe(3);
    expect(decide({ waiting: waiting(FRESH, 3) }).room).toBe(1);
  });

  it("is none where every worker is taken, those that are taken now included", () => {
    const spares = ["a", "b", "c", "d"].map((id) => worker(id, "spare"));
    expect(decide({ workers: spares, waiting: waiting(FRESH, 4) })).toMatchObject({ room: 0, roomForOthers: false });
    const busy = ["a", "b", "c", "d"].map((id) => active(id, FRESH, 1));
    expect(decide({ workers: busy })).toMatchObject({ room: 0, roomForOthers: false, start: standard(0) });
  });
});

describe("functions in an image of their own", () => {
  const OWN: FunctionShape = { ...FRESH, key: "v/own", image: "own" };
  const OTHER: FunctionShape = { ...FRESH, key: "v/other", image: "other" };
  const own = (id: string, phase: "starting" | "spare") => worker(id, phase, { image: "own" });

  it("are given no spare of another image, and a worker of theirs is started beside the spares", () => {
    const decided = decide({ spareWorkers: 1, workers: [worker("a", "spare")], waiting: waiting(OWN, 2) });
    expect(decided).toMatchObject({ assign: [], stop: [], start: [{ image: "own" }, { image: "own" }] });
  });

  it("are started no worker for twice, and take it when it is there", () => {
    const workers = [own("a", "starting"), worker("b", "starting")];
    expect(decide({ workers, waiting: [...waiting(OWN, 1), ...waiting(OTHER, 1)] }).start).toMatchObject([
      { image: "other" },
    ]);
    const there = decide({ workers: [worker("b", "spare"), own("a", "spare")], waiting: waiting(OWN, 1) });
    expect(placesOf(there)).toEqual(["v/own#1>a"]);
  });

  it("leave no spare behind that nobody waits for", () => {
    const workers = [own("a", "spare"), worker("b", "spare")];
    expect(decide({ workers, spareWorkers: 1 })).toMatchObject({ stop: ["a"], start: [] });
    expect(placesOf(decide({ workers, spareWorkers: 1, waiting: waiting(FRESH, 1) }))).toEqual(["v/fresh#1>b"]);
  });

  it("make a spare give way where there is no other room, once, and before an idle worker", () => {
    const workers = [worker("a", "spare"), worker("b", "spare"), active("c", WARM)];
    const decided = decide({ maxWorkers: 3, spareWorkers: 2, workers, waiting: waiting(OWN, 1) });
    expect(decided).toMatchObject({ stop: ["b"], start: [], room: 2, roomForOthers: true });
    const later = [worker("a", "spare"), worker("b", "stopping"), active("c", WARM)];
    expect(decide({ maxWorkers: 3, spareWorkers: 2, workers: later, waiting: waiting(OWN, 1) }).stop).toEqual([]);
    const freed = [worker("a", "spare"), active("c", WARM)];
    expect(decide({ maxWorkers: 3, spareWorkers: 2, workers: freed, waiting: waiting(OWN, 1) }).start).toMatchObject([
      { image: "own" },
    ]);
  });

  it("give way to each other in the order in which they wait, and first what nobody waits for", () => {
    const waits = [...waiting(OTHER, 1), ...waiting(OWN, 1)];
    const decided = decide({ maxWorkers: 2, workers: [own("a", "spare"), worker("b", "spare")], waiting: waits });
    expect(decided).toMatchObject({ assign: [{ workerId: "a" }], stop: ["b"] });
    expect(decide({ maxWorkers: 1, workers: [own("a", "spare")], waiting: waits })).toMatchObject({
      assign: [],
      stop: ["a"],
    });
  });

  it("are kept warm in it, for which a spare gives way and nothing else", () => {
    const standing = [{ shape: { ...WARM, key: "v/own", image: "own" }, minWorkers: 1 }];
    expect(decide({ standing, workers: [own("a", "spare")] }).warm).toMatchObject([{ workerId: "a" }]);
    expect(decide({ standing, spareWorkers: 1 })).toMatchObject({ start: [{ image: "own" }], refill: [STANDARD] });
    const full = { maxWorkers: 2, spareWorkers: 1, standing };
    expect(decide({ ...full, workers: [worker("a", "spare"), active("b", WARM)] })).toMatchObject({ stop: ["a"] });
    expect(decide({ ...full, workers: [active("a", WARM), active("b", WARM)] })).toMatchObject({ stop: [], start: [] });
  });
});

describe("where workers have a size", () => {
  const sized = (size: string, key = `v/${size}`): FunctionShape => ({ ...FRESH, key, size });
  const spare = (id: string, size: string) => worker(id, "spare", { size });

  it("an execution is given a spare of its own, and one is started for it where there is none (P5)", () => {
    const workers = [spare("a", "usual"), spare("b", "big")];
    const decided = decide({ spareSize: "usual", workers, waiting: [...waiting(sized("big"), 2)] });
    expect(placesOf(decided)).toEqual(["v/big#1>b"]);
    expect(decided).toMatchObject({ start: [{ size: "big" }], stop: [] });
  });

  it("those on their way serve their own size only, and spares are of the usual one", () => {
    const workers = [worker("a", "starting", { size: "big" }), worker("b", "starting", { size: "usual" })];
    const situation = { spareSize: "usual", spareWorkers: 2, maxWorkers: 9, workers };
    const refill = [{ size: "usual" }];
    expect(decide({ ...situation, waiting: waiting(sized("small"), 1) })).toMatchObject({
      start: [{ size: "small" }],
      refill,
    });
    expect(decide({ ...situation, waiting: waiting(sized("big"), 1) })).toMatchObject({ start: [], refill });
  });

  it("a spare gives way to what waits for another size, where there is no room", () => {
    const workers = [spare("a", "usual"), active("b", sized("big"), 1)];
    const situation = { spareSize: "usual", spareWorkers: 1, maxWorkers: 2, workers };
    expect(decide({ ...situation, waiting: waiting(sized("big"), 1) })).toMatchObject({ start: [], stop: ["a"] });
    expect(decide({ ...situation, waiting: waiting(sized("usual"), 1) })).toMatchObject({ stop: [] });
  });

  it("a spare that nothing needs any more ends, unless it is of the usual one", () => {
    const workers = [spare("a", "usual"), spare("b", "big")];
    expect(decide({ spareSize: "usual", spareWorkers: 1, workers })).toMatchObject({ start: [], stop: ["b"] });
  });
});

it("an execution that needs an image and a size is given a worker of both", () => {
  const shape: FunctionShape = { ...FRESH, image: "own", size: "big" };
  const workers = [worker("a", "spare", { image: "own", size: "usual" }), worker("b", "spare", { size: "big" })];
  const situation = { spareSize: "usual", waiting: waiting(shape, 1) };
  expect(decide({ ...situation, workers })).toMatchObject({ assign: [], start: [{ image: "own", size: "big" }] });
  const both = [...workers, worker("c", "spare", { image: "own", size: "big" })];
  expect(placesOf(decide({ ...situation, workers: both }))).toEqual(["v/fresh#1>c"]);
});

/** Plans carried out one after the other, in a world that boots, runs and ends workers at random. */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import {
  type FunctionShape,
  type Plan,
  plan,
  type StandingFunction,
  type WaitingView,
  type WorkerView,
} from "./plan.js";
import { ANY_SIZE, STANDARD_IMAGE } from "./workers/worker_kind.js";

type Worker = { -readonly [K in keyof WorkerView]: WorkerView[K] };

/** What a scheduler does with plans, without time passing by itself. */
class World {
  readonly workers = new Map<string, Worker>();
  waiting: WaitingView[] = [];
  now = 0;
  started = 0;
  stopped = 0;
  readonly maxWorkers: number;
  readonly spareWorkers: number;
  standing: readonly StandingFunction[] = [];
  readonly spareSize: string;

  constructor(maxWorkers: number, spareWorkers: number, spareSize = ANY_SIZE) {
    this.spareSize = spareSize;
    this.maxWorkers = maxWorkers;
    this.spareWorkers = spareWorkers;
  }

  act(): Plan {
    const { now, waiting, standing, maxWorkers, spareWorkers, spareSize } = this;
    const workers = [...this.workers.values()];
    const decided = plan({ now, workers, waiting, standing, maxWorkers, spareWorkers, spareSize });
    const oldestOf = new Set<string>();
    for (const { workerId, shape } of decided.warm) this.#bind(this.#worker(workerId), shape);
    for (const { executionId, workerId } of decided.assign) {
      const { shape } = this.#waiting(executionId);
      const worker = this.#worker(workerId);
      if (worker.shape === undefined) this.#bind(worker, shape);
      // P2
      expect(worker).toMatchObject({ phase: "active", shape });
      worker.running += 1;
      worker.taken += 1;
      expect(worker.running).toBeLessThanOrEqual(shape.workerConcurrency);
      expect(worker.taken).toBeLessThanOrEqual(shape.maxInvocationsPerWorker);
    }
    const placed = new Set(decided.assign.map(({ executionId }) => executionId));
    expect(placed.size).toBe(decided.assign.length);
    // P3: of one function, nothing younger goes before what is older.
    for (const { executionId, shape } of waiting) {
      if (!placed.has(executionId)) oldestOf.add(shape.key);
      else expect(oldestOf.has(shape.key), `${executionId} passed an older one`).toBe(false);
    }
    this.waiting = waiting.filter(({ executionId }) => !placed.has(executionId));
    expect(new Set(decided.stop).size).toBe(decided.stop.length);
    for (const workerId of decided.stop) {
      const worker = this.#worker(workerId);
      expect(worker, `${workerId} is stopped`).toMatchObject({ running: 0 });
      worker.phase = "stopping";
      this.stopped += 1;
    }
    for (const kind of decided.start) {
      const id = `w${++this.started}`;
      this.workers.set(id, {
        id,
        phase: "starting",
        ...kind,
        shape: undefined,
        running: 0,
        taken: 0,
        idleSince: this.now,
      });
    }
    expect(this.workers.size).toBeLessThanOrEqual(this.maxWorkers); // P1
    return decided;
  }

  /** One worker, chosen by `pick`, comes one step further. */
  step(pick: number): void {
    const movable = [...this.workers.values()].filter(
      ({ phase, running }) => phase === "starting" || phase === "stopping" || running > 0,
    );
    const worker = movable[pick % Math.max(1, movable.length)];
    if (worker === undefined) return;
    if (worker.phase === "starting") worker.phase = "spare";
    else if (worker.phase === "stopping") this.workers.delete(worker.id);
    else {
      worker.running -= 1;
      if (worker.running === 0) worker.idleSince = this.now;
    }
  }

  #bind(worker: Worker, shape: FunctionShape): void {
    const { image, size } = shape;
    expect(worker).toMatchObject({ phase: "spare", image, size: this.spareSize === ANY_SIZE ? ANY_SIZE : size });
    worker.phase = "active";
    worker.shape = shape;
  }

  #worker(id: string): Worker {
    const worker = this.workers.get(id);
    if (worker === undefined) throw new Error(`there is no worker ${id}`);
    return worker;
  }

  #waiting(executionId: string): WaitingView {
    const found = this.waiting.find((waiting) => waiting.executionId === executionId);
    if (found === undefined) throw new Error(`${executionId} does not wait`);
    return found;
  }
}

const shapes = fc.uniqueArray(
  fc.record({
    key: fc.constantFrom("f", "g", "h"),
    workerConcurrency: fc.integer({ min: 1, max: 3 }),
    maxInvocationsPerWorker: fc.constantFrom(1, 2, 5, Number.POSITIVE_INFINITY),
    idleTimeoutMs: fc.constantFrom(0, 10, 1_000),
    size: fc.constantFrom("usual", "usual", "big"),
    image: fc.constantFrom(STANDARD_IMAGE, STANDARD_IMAGE, "own", "other"),
  }),
  { selector: ({ key }) => key, minLength: 1 },
);
const worlds = fc.record({
  shapes,
  maxWorkers: fc.integer({ min: 1, max: 5 }),
  spareWorkers: fc.integer({ min: 0, max: 3 }),
  spareSize: fc.constantFrom(ANY_SIZE, "usual"),
  minWorkers: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 3, maxLength: 3 }),
});
const moves = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("wait" as const), shape: fc.nat(2) }),
    fc.record({ kind: fc.constant("step" as const), pick: fc.nat(9) }),
    fc.record({ kind: fc.constant("time" as const), ms: fc.constantFrom(1, 20, 2_000) }),
  ),
  { maxLength: 60 },
);

function play(
  { shapes, maxWorkers, spareWorkers, spareSize, minWorkers }: typeof worlds extends fc.Arbitrary<infer W> ? W : never,
  sequence: typeof moves extends fc.Arbitrary<infer M> ? M : never,
): World {
  const world = new World(maxWorkers, spareWorkers, spareSize);
  world.standing = shapes.map((shape, index) => ({ shape, minWorkers: minWorkers[index] ?? 0 }));
  let count = 0;
  world.act();
  for (const move of sequence) {
    if (move.kind === "time") world.now += move.ms;
    else if (move.kind === "step") world.step(move.pick);
    else {
      const shape = shapes[move.shape % shapes.length];
      if (shape !== undefined) world.waiting.push({ executionId: `e${++count}`, shape });
    }
    world.act();
  }
  return world;
}

it("keeps P1 to P3 whatever happens", () => {
  fc.assert(
    fc.property(worlds, moves, (setting, sequence) => void play(setting, sequence)),
    { numRuns: 1_000 },
  );
});

it("places everything in the end, and then comes to rest", () => {
  fc.assert(
    fc.property(worlds, moves, fc.infiniteStream(fc.nat(9)), (setting, sequence, picks) => {
      const world = play(setting, sequence);
      const isBusy = () =>
        world.waiting.length > 0 ||
        [...world.workers.values()].some(
          ({ phase, running }) => running > 0 || phase === "starting" || phase === "stopping",
        );
      let steps = 0;
      for (; isBusy() && steps < 2_000; steps++) {
        world.step(picks.next().value ?? 0);
        world.act();
      }
      expect(world.waiting).toEqual([]);
      expect(steps, "it goes on stopping and starting workers").toBeLessThan(2_000);
      const before = [world.started, world.stopped];
      for (let i = 0; i < 3; i++) world.act();
      expect([world.started, world.stopped]).toEqual(before);
    }),
    { numRuns: 1_000 },
  );
});

it("places an execution although another function never stops asking", () => {
  const wide = (key: string): FunctionShape => ({
    key,
    workerConcurrency: 3,
    maxInvocationsPerWorker: Number.POSITIVE_INFINITY,
    idleTimeoutMs: 1_000,
    size: "usual",
    image: key === "rare" ? "own" : STANDARD_IMAGE,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.infiniteStream(fc.nat(20)), (maxWorkers, picks) => {
      const world = new World(maxWorkers, 0);
      let asked = 0;
      const ask = (key: string) => world.waiting.push({ executionId: `${key}${++asked}`, shape: wide(key) });
      const fill = () => {
        // As the lease loop does: what there is room for is there at once.
        for (let { room } = world.act(); room > 0; room = world.act().room) for (let i = 0; i < room; i++) ask("often");
      };
      for (let i = 0; i < 20; i++) {
        fill();
        world.step(picks.next().value ?? 0);
      }
      ask("rare");
      const waits = () => world.waiting.some(({ shape }) => shape.key === "rare");
      let steps = 0;
      for (; waits() && steps < 500; steps++) {
        world.step(picks.next().value ?? 0);
        fill();
      }
      expect(steps).toBeLessThan(500);
    }),
    { numRuns: 200 },
  );
});

/**
 * What a scheduler does next, decided from what it knows: pure, so that every situation can be tested.
 *
 * P1. Workers never exceed `maxWorkers`, those that are starting and stopping included.
 * P2. A worker runs at most `workerConcurrency` executions at once and `maxInvocationsPerWorker` in its life, of one
 *     function.
 * P3. The execution that has waited longest is placed first. Where no worker is on its way to it, an idle one of another
 *     function gives way, and where none is idle, one that is used again and again takes nothing more until it is.
 *     The same for a spare, which is of use only to functions of its kind.
 * P4. Nothing that waits gives way to a worker that is only to be kept warm, and warm workers do not replace each other.
 * P5. Spares are kept of one kind only. Of another one a worker is started for what needs it.
 */
import { SPARE, type WorkerKind, WorkerKinds } from "./workers/worker_kind.js";

export interface FunctionShape extends WorkerKind {
  /** "versionId/functionName". */
  readonly key: string;
  readonly workerConcurrency: number;
  /** Infinity: unbounded. */
  readonly maxInvocationsPerWorker: number;
  readonly idleTimeoutMs: number;
}

export interface WorkerView extends WorkerKind {
  readonly id: string;
  readonly phase: "starting" | "spare" | "active" | "draining" | "stopping";
  /** Present in a worker that is active or draining, and in one that is started for an execution. */
  readonly shape: FunctionShape | undefined;
  readonly running: number;
  /** Executions given to it in its life. */
  readonly taken: number;
  /** Monotonic milliseconds. */
  readonly idleSince: number;
}

export interface WaitingView {
  readonly executionId: string;
  readonly shape: FunctionShape;
}

export interface StandingFunction {
  readonly shape: FunctionShape;
  readonly minWorkers: number;
}

export interface Situation {
  /** By the clock of `idleSince`. */
  readonly now: number;
  readonly workers: readonly WorkerView[];
  /** Executions without a worker, oldest first. */
  readonly waiting: readonly WaitingView[];
  readonly standing: readonly StandingFunction[];
  readonly maxWorkers: number;
  readonly spareWorkers: number;
  /** The size of spares, or ANY_SIZE: then a worker serves functions of all sizes. */
  readonly spareSize: string;
}

export interface Plan {
  /** Executions to give to workers; a worker that is a spare is bound first. */
  readonly assign: readonly { readonly executionId: string; readonly workerId: string }[];
  /** Spares to bind to functions that keep warm workers. */
  readonly warm: readonly { readonly workerId: string; readonly shape: FunctionShape }[];
  /** Of what kind the workers to start are, one for each, for which something waits. */
  readonly start: readonly WorkerKind[];
  /** The same of spares to start beside them, for what comes later. */
  readonly refill: readonly WorkerKind[];
  readonly stop: readonly string[];
  /** Executions that could be placed if they were leased now. */
  readonly room: number;
  /** Whether a function that has no place in a bound worker could get one. */
  readonly roomForOthers: boolean;
  /** When an idle worker is to be looked at again. */
  readonly nextIdleAt: number | undefined;
}

/** Executions leased ahead for workers that are still to be started. */
const ROOM_PER_NEW_WORKER = 1;

/** By function. In the order in which they came, and quick to take one away from. */
type Places = Map<string, Set<Place>>;

interface Place {
  readonly id: string;
  readonly shape: FunctionShape;
  free: number;
  readonly running: number;
  /** Whether it takes more executions after those that it runs. */
  readonly reusable: boolean;
  readonly idleSince: number;
}

export function plan(situation: Situation): Plan {
  const { workers, waiting, standing, maxWorkers, spareWorkers, spareSize, now } = situation;
  const kinds = new WorkerKinds(spareSize);
  const places: Places = new Map();
  const spares = new Map<string, string[]>();
  const stop: string[] = [];
  const starting = new Map<string, number>();
  let spareCount = 0;
  let stopping = 0;
  let bound = 0;
  for (const worker of workers) {
    const kind = kinds.of(worker);
    // One that has what it is started for is of no use to anything else.
    if (worker.phase === "starting" && worker.shape === undefined) starting.set(kind, (starting.get(kind) ?? 0) + 1);
    else if (worker.phase === "spare") {
      const ids = spares.get(kind);
      if (ids === undefined) spares.set(kind, [worker.id]);
      else ids.push(worker.id);
      spareCount += 1;
    } else bound += 1;
    if (worker.phase === "stopping") stopping += 1;
    if (worker.shape === undefined || (worker.phase !== "active" && worker.phase !== "draining")) continue;
    const { shape, running, taken } = worker;
    const free =
      worker.phase === "draining"
        ? 0
        : Math.min(shape.workerConcurrency - running, shape.maxInvocationsPerWorker - taken);
    if (running === 0 && (worker.phase === "draining" || shape.maxInvocationsPerWorker <= taken)) {
      stop.push(worker.id);
      continue;
    }
    const reusable = worker.phase === "active" && taken < shape.maxInvocationsPerWorker;
    add(places, { id: worker.id, shape, free, running, reusable, idleSince: worker.idleSince });
  }

  const roomToStart = maxWorkers - workers.length;
  const freed = stopping + stop.length + Math.max(roomToStart, 0);
  const minWorkers = new Map(standing.map(({ shape, minWorkers }) => [shape.key, minWorkers]));
  const assign: { executionId: string; workerId: string }[] = [];
  const assigned = new Set<string>();
  const unplaced = new Unplaced(kinds, starting);
  const evicted: string[] = [];
  let evictedSpares = 0;
  let canGiveWay = true;
  let idleOnes: IdleOnes | undefined;
  for (const { executionId, shape } of waiting) {
    const place = takePlace(places, shape) ?? bindSpare(places, spares, kinds, shape, now);
    if (place !== undefined) {
      place.free -= 1;
      assign.push({ executionId, workerId: place.id });
      assigned.add(place.id);
      continue;
    }
    unplaced.add(shape);
    if (!canGiveWay || unplaced.missing <= freed + evicted.length) continue;
    // P3: at once, so that no younger execution takes the place.
    const spare = spareToStop(spares, kinds, kinds.of(shape), waiting);
    if (spare !== undefined) {
      evicted.push(spare);
      evictedSpares += 1;
      continue;
    }
    idleOnes ??= new IdleOnes(places, assigned, minWorkers);
    const idle = idleOnes.next();
    if (idle === undefined) {
      canGiveWay = false;
      emptyOne(places, assigned, shape.key);
    } else {
      evicted.push(idle.id);
      remove(places, idle);
    }
  }
  const warm = warmUp(standing, places, spares, kinds, now);
  for (const kind of warm.missing) {
    unplaced.addWorker(kind);
    const spare = unplaced.missing > freed + evicted.length ? spareToStop(spares, kinds, kind, waiting) : undefined;
    if (spare === undefined) continue;
    evicted.push(spare);
    evictedSpares += 1;
  }
  stop.push(...evicted);
  const { expired, nextIdleAt } = idleWorkers(places, assigned, minWorkers, now);
  stop.push(...expired);

  const needed = unplaced.kinds;
  const left = [...spares.values()].flat().length;
  const kept: string[] = Array.from({ length: spareWorkers }, () => SPARE);
  const all = toStart([...needed, ...kept], starting, spares).slice(0, Math.max(roomToStart, 0));
  const start = all.slice(0, toStart(needed, starting, spares).length);
  for (const [kind, ids] of spares) if (kind !== SPARE) stop.push(...ids); // P5

  let room = 0;
  for (const list of places.values()) for (const { free } of list) room += free;
  const newWorkers = Math.max(0, maxWorkers - bound - (spareCount - left - evictedSpares) - needed.length);
  return {
    assign,
    warm: warm.bind,
    start: start.map((kind) => kinds.get(kind)),
    refill: all.slice(start.length).map((kind) => kinds.get(kind)),
    stop,
    room: room + newWorkers * ROOM_PER_NEW_WORKER,
    roomForOthers: newWorkers > 0,
    nextIdleAt,
  };
}

/** Workers that are wanted and not there: those that executions without a place would fill, and such as are kept warm. */
class Unplaced {
  /** Their kinds, one for each, the most urgent first. */
  readonly kinds: string[] = [];
  /** How many of them are not on their way. */
  missing = 0;
  readonly #counts = new Map<string, number>();
  readonly #known: WorkerKinds;
  readonly #starting: Map<string, number>;

  constructor(known: WorkerKinds, starting: ReadonlyMap<string, number>) {
    this.#known = known;
    this.#starting = new Map(starting);
  }

  add(shape: FunctionShape): void {
    const { key, workerConcurrency, maxInvocationsPerWorker } = shape;
    const count = this.#counts.get(key) ?? 0;
    this.#counts.set(key, count + 1);
    if (count % Math.min(workerConcurrency, maxInvocationsPerWorker) !== 0) return;
    this.addWorker(this.#known.of(shape));
  }

  addWorker(kind: string): void {
    this.kinds.push(kind);
    if (!takeOne(this.#starting, kind)) this.missing += 1;
  }
}

/** Of the workers that are wanted, those that are neither on their way nor there. */
function toStart(
  wanted: readonly string[],
  starting: ReadonlyMap<string, number>,
  spares: ReadonlyMap<string, readonly string[]>,
): string[] {
  const there = new Map(starting);
  for (const [kind, { length }] of spares) there.set(kind, (there.get(kind) ?? 0) + length);
  return wanted.filter((kind) => !takeOne(there, kind));
}

function takeOne(counts: Map<string, number>, key: string): boolean {
  const count = counts.get(key) ?? 0;
  if (count > 0) counts.set(key, count - 1);
  return count > 0;
}

function takePlace(places: Places, shape: FunctionShape): Place | undefined {
  // The fullest place that has room, so that others become idle and can go.
  let best: Place | undefined;
  for (const place of places.get(shape.key) ?? []) {
    if (place.free > 0 && (best === undefined || place.free < best.free)) best = place;
  }
  return best;
}

function bindSpare(
  places: Places,
  spares: ReadonlyMap<string, string[]>,
  kinds: WorkerKinds,
  shape: FunctionShape,
  now: number,
): Place | undefined {
  const id = spares.get(kinds.of(shape))?.shift();
  if (id === undefined) return undefined;
  const free = Math.min(shape.workerConcurrency, shape.maxInvocationsPerWorker);
  const place = { id, shape, free, running: 0, reusable: true, idleSince: now };
  add(places, place);
  return place;
}

function warmUp(
  standing: readonly StandingFunction[],
  places: Places,
  spares: ReadonlyMap<string, string[]>,
  kinds: WorkerKinds,
  now: number,
): { bind: { workerId: string; shape: FunctionShape }[]; missing: string[] } {
  const bind = [];
  const missing: string[] = [];
  for (const { shape, minWorkers } of standing) {
    let count = places.get(shape.key)?.size ?? 0;
    for (; count < minWorkers; count++) {
      const place = bindSpare(places, spares, kinds, shape, now);
      if (place === undefined) missing.push(kinds.of(shape));
      else bind.push({ workerId: place.id, shape });
    }
  }
  return { bind, missing };
}

function idleWorkers(
  places: Places,
  assigned: ReadonlySet<string>,
  minWorkers: ReadonlyMap<string, number>,
  now: number,
): { expired: string[]; nextIdleAt: number | undefined } {
  const expired: string[] = [];
  let nextIdleAt: number | undefined;
  for (const [key, list] of places) {
    let keep = list.size;
    for (const place of [...list].sort((a, b) => a.idleSince - b.idleSince)) {
      if (place.running > 0 || assigned.has(place.id) || keep <= (minWorkers.get(key) ?? 0)) continue;
      const idleAt = place.idleSince + place.shape.idleTimeoutMs;
      if (idleAt <= now) {
        expired.push(place.id);
        remove(places, place);
        keep -= 1;
      } else if (nextIdleAt === undefined || idleAt < nextIdleAt) {
        nextIdleAt = idleAt;
      }
    }
  }
  return { expired, nextIdleAt };
}

/** A spare that is of no use to functions of this kind, and to nothing else that waits if there is such a one. */
function spareToStop(
  spares: ReadonlyMap<string, string[]>,
  kinds: WorkerKinds,
  kind: string,
  waiting: readonly WaitingView[],
): string | undefined {
  const others = [...spares.keys()].filter((other) => other !== kind && (spares.get(other)?.length ?? 0) > 0);
  const unwanted = others.find((other) => waiting.every(({ shape }) => kinds.of(shape) !== other));
  const [chosen] = unwanted === undefined ? others : [unwanted];
  return chosen === undefined ? undefined : spares.get(chosen)?.pop();
}

/**
 * Of the workers that idle, the next one to give way: first those above what is kept warm, and the longest idle first. Sorted
 * once for a plan, in which an idle one may be taken but none is added: one that is added is given an execution at once. So
 * one that is kept warm stays so.
 */
class IdleOnes {
  readonly #places: Places;
  readonly #assigned: ReadonlySet<string>;
  readonly #minWorkers: ReadonlyMap<string, number>;
  /** The longest idle last. */
  readonly #left: Place[];
  readonly #keptWarm: Place[] = [];
  #nextKept = 0;

  constructor(places: Places, assigned: ReadonlySet<string>, minWorkers: ReadonlyMap<string, number>) {
    this.#places = places;
    this.#assigned = assigned;
    this.#minWorkers = minWorkers;
    const idle = [...places.values()].flatMap((list) => [...list]).filter((place) => this.#isIdle(place));
    this.#left = idle.sort((a, b) => a.idleSince - b.idleSince).reverse();
  }

  next(): Place | undefined {
    for (let place = this.#left.pop(); place !== undefined; place = this.#left.pop()) {
      if (!this.#isIdle(place)) continue;
      if (!this.#isKeptWarm(place)) return place;
      this.#keptWarm.push(place);
    }
    while (this.#nextKept < this.#keptWarm.length) {
      const place = this.#keptWarm[this.#nextKept++];
      if (place !== undefined && this.#isIdle(place)) return place;
    }
    return undefined;
  }

  #isIdle({ id, running }: Place): boolean {
    return running === 0 && !this.#assigned.has(id);
  }

  #isKeptWarm({ shape: { key } }: Place): boolean {
    return (this.#places.get(key)?.size ?? 0) <= (this.#minWorkers.get(key) ?? 0);
  }
}

/** Lets a worker of another function run empty: the one that is nearest to it, so that it stays the same one. */
function emptyOne(places: Places, assigned: ReadonlySet<string>, key: string): void {
  let victim: Place | undefined;
  for (const place of [...places.values()].flatMap((list) => [...list])) {
    if (!place.reusable || place.shape.key === key || assigned.has(place.id)) continue;
    if (victim === undefined || place.running < victim.running) victim = place;
  }
  if (victim !== undefined) victim.free = 0;
}

function add(places: Places, place: Place): void {
  const { key } = place.shape;
  const list = places.get(key);
  if (list === undefined) places.set(key, new Set([place]));
  else list.add(place);
}

function remove(places: Places, place: Place): void {
  places.get(place.shape.key)?.delete(place);
}

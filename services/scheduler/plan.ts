/**
 * What a scheduler does next, decided from what it knows: pure, so that every situation can be tested.
 *
 * P1. Workers never exceed `maxWorkers`, those that are starting and stopping included.
 * P2. A worker runs at most `workerConcurrency` executions at once and `maxInvocationsPerWorker` in its life, of one
 *     function.
 * P3. The execution that has waited longest is placed first.
 */
export interface FunctionShape {
  /** "versionId/functionName". */
  readonly key: string;
  readonly workerConcurrency: number;
  /** Infinity: unbounded. */
  readonly maxInvocationsPerWorker: number;
  readonly idleTimeoutMs: number;
}

export interface WorkerView {
  readonly id: string;
  readonly phase: "starting" | "spare" | "active" | "draining" | "stopping";
  /** Present in a worker that is active or draining. */
  readonly shape: FunctionShape | undefined;
  readonly running: number;
  /** Executions given to it in its life. */
  readonly taken: number;
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
  readonly now: number;
  readonly workers: readonly WorkerView[];
  /** Executions without a worker, oldest first. */
  readonly waiting: readonly WaitingView[];
  readonly standing: readonly StandingFunction[];
  readonly maxWorkers: number;
  readonly spareWorkers: number;
}

export interface Plan {
  /** Executions to give to workers; a worker that is a spare is bound first. */
  readonly assign: readonly { readonly executionId: string; readonly workerId: string }[];
  /** Spares to bind to functions that keep warm workers. */
  readonly warm: readonly { readonly workerId: string; readonly shape: FunctionShape }[];
  /** Spares to start. */
  readonly start: number;
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

interface Place {
  readonly id: string;
  readonly shape: FunctionShape;
  free: number;
  readonly idleSince: number;
  readonly idle: boolean;
}

export function plan(situation: Situation): Plan {
  const { workers, waiting, standing, maxWorkers, spareWorkers, now } = situation;
  const places = new Map<string, Place[]>();
  const spares: string[] = [];
  const stop: string[] = [];
  let starting = 0;
  let bound = 0;
  for (const worker of workers) {
    if (worker.phase === "starting") starting += 1;
    else if (worker.phase === "spare") spares.push(worker.id);
    else bound += 1;
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
    const place = { id: worker.id, shape, free, idleSince: worker.idleSince, idle: running === 0 };
    places.set(shape.key, [...(places.get(shape.key) ?? []), place]);
  }

  const assign: { executionId: string; workerId: string }[] = [];
  const unplaced = new Map<string, { shape: FunctionShape; count: number }>();
  for (const { executionId, shape } of waiting) {
    const place = takePlace(places, shape) ?? bindSpare(places, spares, shape, now);
    if (place !== undefined) {
      place.free -= 1;
      assign.push({ executionId, workerId: place.id });
      continue;
    }
    const entry = unplaced.get(shape.key) ?? { shape, count: 0 };
    entry.count += 1;
    unplaced.set(shape.key, entry);
  }

  const assigned = new Set(assign.map(({ workerId }) => workerId));
  const warm = warmUp(standing, places, spares, now);
  const minWorkers = new Map(standing.map(({ shape, minWorkers }) => [shape.key, minWorkers]));
  const { expired, nextIdleAt } = idleWorkers(places, assigned, minWorkers, now);
  stop.push(...expired);

  let needed = warm.missing;
  for (const { shape, count } of unplaced.values()) {
    needed += Math.ceil(count / Math.min(shape.workerConcurrency, shape.maxInvocationsPerWorker));
  }
  const wanted = needed + spareWorkers - spares.length - starting;
  const roomToStart = maxWorkers - workers.length;
  // A worker that idles gives way to one that is waited for.
  const evicted = needed > spares.length + starting + Math.max(roomToStart, 0) ? evict(places, assigned, stop, 1) : [];
  stop.push(...evicted);

  let room = 0;
  for (const list of places.values()) for (const { free } of list) room += free;
  const newWorkers = Math.max(0, maxWorkers - bound - (warm.bind.length + needed));
  return {
    assign,
    warm: warm.bind,
    start: Math.max(0, Math.min(wanted, roomToStart)),
    stop,
    room: room + newWorkers * ROOM_PER_NEW_WORKER,
    roomForOthers: newWorkers > 0,
    nextIdleAt,
  };
}

function takePlace(places: ReadonlyMap<string, Place[]>, shape: FunctionShape): Place | undefined {
  // The fullest place that has room, so that others become idle and can go.
  let best: Place | undefined;
  for (const place of places.get(shape.key) ?? []) {
    if (place.free > 0 && (best === undefined || place.free < best.free)) best = place;
  }
  return best;
}

function bindSpare(
  places: Map<string, Place[]>,
  spares: string[],
  shape: FunctionShape,
  now: number,
): Place | undefined {
  const id = spares.shift();
  if (id === undefined) return undefined;
  const free = Math.min(shape.workerConcurrency, shape.maxInvocationsPerWorker);
  const place = { id, shape, free, idleSince: now, idle: true };
  places.set(shape.key, [...(places.get(shape.key) ?? []), place]);
  return place;
}

function warmUp(
  standing: readonly StandingFunction[],
  places: Map<string, Place[]>,
  spares: string[],
  now: number,
): { bind: { workerId: string; shape: FunctionShape }[]; missing: number } {
  const bind = [];
  let missing = 0;
  for (const { shape, minWorkers } of standing) {
    let count = places.get(shape.key)?.length ?? 0;
    for (; count < minWorkers; count++) {
      const place = bindSpare(places, spares, shape, now);
      if (place === undefined) missing += 1;
      else bind.push({ workerId: place.id, shape });
    }
  }
  return { bind, missing };
}

function idleWorkers(
  places: Map<string, Place[]>,
  assigned: ReadonlySet<string>,
  minWorkers: ReadonlyMap<string, number>,
  now: number,
): { expired: string[]; nextIdleAt: number | undefined } {
  const expired: string[] = [];
  let nextIdleAt: number | undefined;
  for (const [key, list] of places) {
    let keep = list.length;
    for (const place of [...list].sort((a, b) => a.idleSince - b.idleSince)) {
      if (!place.idle || assigned.has(place.id) || keep <= (minWorkers.get(key) ?? 0)) continue;
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

function evict(
  places: Map<string, Place[]>,
  assigned: ReadonlySet<string>,
  stopping: readonly string[],
  count: number,
): string[] {
  if (stopping.length > 0) return []; // room is on its way
  const idle = [...places.values()].flat().filter((place) => place.idle && !assigned.has(place.id));
  const victims = idle.sort((a, b) => a.idleSince - b.idleSince).slice(0, count);
  for (const place of victims) remove(places, place);
  return victims.map(({ id }) => id);
}

function remove(places: Map<string, Place[]>, place: Place): void {
  places.set(
    place.shape.key,
    (places.get(place.shape.key) ?? []).filter(({ id }) => id !== place.id),
  );
}

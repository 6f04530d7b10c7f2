/** The transaction of a start: everything that can still refuse it, and then the rows. */
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { limitIsExceeded, projectIsBeingDeleted, Refusal } from "../../platform/errors.js";
import { timeOfId } from "../../platform/ids.js";
import type { Principal } from "../../platform/rpc/principal.js";
import { together, type WriteTransaction } from "../../platform/store/db.js";
import type { InvocationDeps } from "../deps.js";
import { isFinished, isQueued, type Life, NEW_LIFE } from "../domain/life.js";
import { advance } from "../domain/transitions.js";
import {
  type FirstStart,
  type Identity,
  type NewInvocation,
  type QueueRow,
  queueName,
  type StoredInvocation,
  type WantedFunction,
} from "../store.js";
import type { DirectLease } from "./direct_lease.js";
import { bodyHashOf, isForgotten, repeatedStart } from "./idempotency.js";
import { type AdmittedStart, isToBeStored, type ResolvedStart } from "./resolve.js";

/** What became of one start: the id of its invocation, or why there is none. */
export type Started = string | Refusal;

/** What starts are decided by. */
export interface StartSurroundings {
  readonly parents: ReadonlyMap<string, StoredInvocation>;
  readonly room: QueueRoom;
  readonly cancelled: ReadonlySet<string>;
  readonly children: ChildCounter;
}

/** Reads what starts are decided by, makes and locks their queues, and keeps the lease of the scheduler that may lease them. */
export async function openStarts(
  deps: InvocationDeps,
  tx: WriteTransaction,
  starts: readonly AdmittedStart[],
  direct: DirectLease | undefined,
): Promise<StartSurroundings> {
  const parentIds = parentIdsOf(starts);
  // The queues are locked before their projects are looked at, so that none is stored in one whose cancellation has looked for
  // what to cancel. Nothing is waited for in between.
  const [parents, room, cancelled, children, isHeld] = await together([
    loadParents(deps, tx, parentIds),
    QueueRoom.open(deps, tx, starts),
    cancelledProjects(deps, tx, starts),
    ChildCounter.load(deps, tx, parentIds),
    direct?.isSchedulerHeld(tx),
  ]);
  if (isHeld === false) await direct?.renewScheduler(tx);
  return { parents, room, cancelled, children };
}

/** What became of starts, and the invocations that are new. */
export interface StoredStarts {
  readonly outcomes: readonly Started[];
  readonly stored: readonly NewInvocation[];
}

/** Decides, and stores what is started, at the end of the write. */
export async function storeStarts(
  deps: InvocationDeps,
  tx: WriteTransaction,
  starts: readonly AdmittedStart[],
  { parents, room, cancelled, children }: StartSurroundings,
  principal: Principal,
  direct: DirectLease | undefined,
): Promise<StoredStarts> {
  const now = deps.clock.now();
  const inserts: NewInvocation[] = [];
  const byKey = new Map<string, FirstStart>();
  const started: Started[] = [];
  for (const start of starts) {
    if (!isToBeStored(start)) {
      started.push(start);
      continue;
    }
    const { command, resolved } = start;
    const parent = command.parentId === null ? undefined : parents.get(command.parentId);
    const refusal =
      cancelled.has(resolved.projectId) || !room.has(start)
        ? projectIsBeingDeleted(resolved.projectName)
        : parentRefusal(start, parent, principal);
    if (refusal !== undefined) {
      started.push(refusal);
      continue;
    }
    const idempotency = idempotencyOf(start);
    if (idempotency !== null) {
      const place = `${resolved.projectId}/${idempotency.key}`;
      const first = byKey.get(place) ?? (await findFirst(deps, tx, resolved.projectId, idempotency.key, now));
      const repeated = repeatedStart(first, idempotency, now);
      if (repeated !== undefined) {
        started.push(repeated);
        continue;
      }
    }
    const full = childRefusal(parent, children) ?? room.take(start);
    if (full !== undefined) {
      started.push(full);
      continue;
    }
    if (command.parentId !== null) children.add(command.parentId);
    const id = deps.ids.next("inv");
    // The same time as in the id, by which listings are filtered.
    const createdAt = timeOfId(id);
    const expiresAt = command.ttlMs === null ? null : createdAt + command.ttlMs;
    if (idempotency !== null) byKey.set(`${resolved.projectId}/${idempotency.key}`, { id, createdAt, ...idempotency });
    const identity: Identity = {
      id,
      projectId: resolved.projectId,
      projectName: resolved.projectName,
      functionName: command.functionName,
      versionId: resolved.versionId,
      parentId: command.parentId,
      depth: parent === undefined ? 0 : parent.identity.depth + 1,
      createdAt,
      expiresAt,
    };
    // Ids never go back; a clock may, and then nobody is to wait until it has come to the time in the id again.
    const first = firstLife(start, parent, Math.min(createdAt, now));
    const life = direct !== undefined && room.hasSlot(start) ? direct.take(start, identity, first, createdAt) : first;
    room.placed(start, life);
    inserts.push({ identity, life, input: command.encodedArguments, idempotency });
    if (expiresAt !== null) deps.announcer.deadline(expiresAt);
    started.push(id);
  }
  if (inserts.length > 0) deps.store.insert(tx, inserts);
  children.flush(deps, tx);
  return { outcomes: started, stored: inserts };
}

/** A child that is started while its parent is being cancelled is cancelled with it, before any worker is provisioned. */
function firstLife(start: ResolvedStart, parent: StoredInvocation | undefined, now: number): Life {
  const life = { ...NEW_LIFE, availableAt: now };
  if (parent === undefined || parent.life.cancelRequestedAt === null) return life;
  const advanced = advance(life, { type: "cancel" }, now, start.known.policy);
  return typeof advanced === "string" ? life : advanced.life;
}

function parentIdsOf(starts: readonly AdmittedStart[]): string[] {
  const ids = new Set<string>();
  for (const start of starts) {
    if (isToBeStored(start) && start.command.parentId !== null) ids.add(start.command.parentId);
  }
  return [...ids];
}

async function loadParents(
  deps: InvocationDeps,
  tx: WriteTransaction,
  ids: readonly string[],
): Promise<Map<string, StoredInvocation>> {
  const parents = ids.length === 0 ? [] : await deps.store.load(tx, ids);
  return new Map(parents.map((parent) => [parent.identity.id, parent]));
}

async function cancelledProjects(
  deps: InvocationDeps,
  tx: WriteTransaction,
  starts: readonly AdmittedStart[],
): Promise<Set<string>> {
  const ids = new Set<string>();
  for (const start of starts) if (isToBeStored(start)) ids.add(start.resolved.projectId);
  const cancelled = new Set<string>();
  await together(
    Array.from(ids, async (id) => {
      if (await deps.store.isProjectCancelled(tx, id)) cancelled.add(id);
    }),
  );
  return cancelled;
}

function parentRefusal(
  { command, resolved }: ResolvedStart,
  parent: StoredInvocation | undefined,
  principal: Principal,
): Refusal | undefined {
  if (command.parentId === null) return undefined;
  const metadata = { invocationId: command.parentId };
  if (principal.kind === "execution") {
    if (command.parentId !== principal.invocationId) {
      return new Refusal("PermissionDenied", "an execution starts children of its own invocation only");
    }
    if (parent?.life.current?.id !== principal.executionId) {
      return new Refusal("ExecutionIsNotCurrent", `execution "${principal.executionId}" is not current any more`, {
        metadata: { executionId: principal.executionId },
      });
    }
  }
  if (parent === undefined || parent.identity.projectId !== resolved.projectId) {
    const message = `parent invocation "${command.parentId}" does not exist in project "${resolved.projectName}"`;
    return new Refusal("ParentInvocationDoesNotExist", message, { metadata });
  }
  return undefined;
}

/** Why a parent may have no further child. What it has started before is answered all the same. */
function childRefusal(parent: StoredInvocation | undefined, children: ChildCounter): Refusal | undefined {
  if (parent === undefined) return undefined;
  const { id } = parent.identity;
  if (isFinished(parent.life)) {
    const message = `parent invocation "${id}" is ${parent.life.status}: it starts no children any more`;
    return new Refusal("InvocationIsAlreadyTerminated", message, { metadata: { invocationId: id } });
  }
  if (children.count(id) >= LIMITS.childrenPerInvocation) {
    const limit = LIMITS.childrenPerInvocation;
    return limitIsExceeded(`an invocation has at most ${limit} children`, limit);
  }
  if (parent.identity.depth >= LIMITS.nestingDepth) {
    const limit = LIMITS.nestingDepth;
    return limitIsExceeded(`invocations are nested at most ${limit} deep`, limit);
  }
  return undefined;
}

function idempotencyOf({ command, resolved }: ResolvedStart): { key: string; bodyHash: Uint8Array } | null {
  if (command.idempotencyKey === null) return null;
  return { key: command.idempotencyKey, bodyHash: bodyHashOf(resolved.projectId, command) };
}

async function findFirst(
  deps: InvocationDeps,
  tx: WriteTransaction,
  projectId: string,
  key: string,
  now: number,
): Promise<FirstStart | undefined> {
  const first = await deps.store.findIdempotent(tx, projectId, key);
  if (first !== undefined && isForgotten(first, now)) await deps.store.forgetIdempotencyKey(tx, projectId, key);
  return first;
}

/** Counts the children of each parent. */
class ChildCounter {
  readonly #counts = new Map<string, { stored: number; added: number }>();

  static async load(deps: InvocationDeps, tx: WriteTransaction, parentIds: readonly string[]): Promise<ChildCounter> {
    const counter = new ChildCounter();
    const counts = await together(parentIds.map((id) => deps.store.countChildren(tx, id)));
    for (const [index, id] of parentIds.entries()) counter.#counts.set(id, { stored: counts[index] ?? 0, added: 0 });
    return counter;
  }

  count(parentId: string): number {
    const count = this.#counts.get(parentId);
    return count === undefined ? 0 : count.stored + count.added;
  }

  add(parentId: string): void {
    const count = this.#counts.get(parentId);
    if (count !== undefined) count.added += 1;
  }

  flush(deps: InvocationDeps, tx: WriteTransaction): void {
    for (const [id, { added }] of this.#counts) if (added > 0) deps.store.addChildren(tx, id, added);
  }
}

/** Invocations that may still wait, and slots that are free while none waits. */
interface Room {
  places: number;
  slots: number;
}

/** Makes the queues of the functions that are started, and counts what still fits into each. */
class QueueRoom {
  readonly #queueDepth: number;
  readonly #left = new Map<ResolvedStart["resolved"], Room>();

  static async open(deps: InvocationDeps, tx: WriteTransaction, starts: readonly AdmittedStart[]): Promise<QueueRoom> {
    const room = new QueueRoom(deps.limits.queueDepth);
    const functions = new Map<ResolvedStart["resolved"], WantedFunction>();
    for (const start of starts) if (isToBeStored(start)) functions.set(start.resolved, wantedFunction(start));
    const queues = await deps.store.ensureFunctions(tx, [...functions.values()]);
    // By queue, which all versions of a function share.
    const rooms = new Map<string, Room>();
    for (const [index, [resolved, wanted]] of [...functions].entries()) {
      const key = queueName(wanted);
      const queue = queues[index];
      if (queue === undefined) continue;
      const left = rooms.get(key) ?? roomOf(queue, room.#queueDepth);
      rooms.set(key, left);
      room.#left.set(resolved, left);
    }
    return room;
  }

  private constructor(queueDepth: number) {
    this.#queueDepth = queueDepth;
  }

  /** Whether there is a queue: where there is none, the project is being cancelled. */
  has(start: ResolvedStart): boolean {
    return this.#left.has(start.resolved);
  }

  take(start: ResolvedStart): Refusal | undefined {
    const left = this.#left.get(start.resolved);
    if (left === undefined) throw new Error("a function that is started has no queue");
    left.places -= 1;
    if (left.places >= 0) return undefined;
    const limit = String(this.#queueDepth);
    const name = start.command.functionName;
    return new Refusal("ResourceExhausted", `${limit} invocations of "${name}" are waiting: no more are taken`, {
      metadata: { limit },
      retryAfterMs: 5_000,
    });
  }

  /** Whether it may run at once: a slot is free, and nothing is queued before it. */
  hasSlot(start: ResolvedStart): boolean {
    return (this.#left.get(start.resolved)?.slots ?? 0) > 0;
  }

  /** What comes after one that is queued is queued too. */
  placed(start: ResolvedStart, life: Life): void {
    const left = this.#left.get(start.resolved);
    if (left === undefined) return;
    if (isQueued(life)) left.slots = 0;
    else left.slots -= life.held;
  }
}

function wantedFunction({ resolved, known, command }: ResolvedStart): WantedFunction {
  const { projectId, projectName, versionId } = resolved;
  const { maxConcurrency: slotLimit, encodedSpec: spec } = known;
  return { projectId, projectName, versionId, functionName: command.functionName, spec, slotLimit };
}

function roomOf({ queued, slotLimit, used }: QueueRow, queueDepth: number): Room {
  return { places: queueDepth - queued, slots: queued > 0 ? 0 : slotLimit - used };
}

/** Cancelling invocations and what descends from them. */
import type { WriteTransaction } from "../platform/store/db.js";
import type { InvocationDeps } from "./deps.js";
import type { Change, StoredInvocation } from "./store.js";
import { applyToAll } from "./working_set.js";

/** Invocations that one transaction cancels, so that it stays short. */
const CASCADE_CHUNK = 500;

/** Cancels these invocations, whatever they are; answers what changed. */
export async function cancelAll(
  deps: InvocationDeps,
  tx: WriteTransaction,
  invocations: readonly StoredInvocation[],
): Promise<Change[]> {
  return await applyToAll(deps, tx, invocations, { type: "cancel" });
}

/**
 * Cancels descendants of an invocation, and notes for `continueCascades` that there may be more: they may be too many for one
 * transaction, and those that were found may have started children before they were locked. Undefined: it has none.
 */
export async function cancelDescendants(
  deps: InvocationDeps,
  tx: WriteTransaction,
  id: string,
): Promise<Change[] | undefined> {
  if ((await deps.store.countChildren(tx, id)) === 0) return undefined;
  await deps.store.putCascade(tx, id);
  return await cancelAll(deps, tx, await deps.store.loadUncancelledDescendants(tx, id, CASCADE_CHUNK));
}

/** Goes on with cancellations that have not reached all descendants. Answers whether any is left. */
export async function continueCascades(deps: InvocationDeps): Promise<boolean> {
  const ids = await deps.db.read((tx) => deps.store.loadCascades(tx, 10));
  for (const id of ids) await continueCascade(deps, id);
  return ids.length > 0;
}

/** The same with that of one invocation. */
export async function continueCascade(deps: InvocationDeps, id: string): Promise<boolean> {
  const { db, store, announcer } = deps;
  const changes = await db.write(async (tx) =>
    cancelAll(deps, tx, await store.loadUncancelledDescendants(tx, id, CASCADE_CHUNK)),
  );
  announcer.changed(changes);
  if (changes.length > 0) return true;
  // One that ended while it was waited for may have started others, which only another look finds.
  const isAnyLeft = (await db.read((tx) => store.loadUncancelledDescendants(tx, id, 1))).length > 0;
  if (!isAnyLeft) await db.write((tx) => store.forgetCascade(tx, id));
  return isAnyLeft;
}

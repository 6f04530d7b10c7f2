/**
 * Starts with an idempotency key that are refused now, but were not the first time: since then a version came without the
 * function, or with another schema. A repeated start is answered with what its first one started all the same.
 */

import { Refusal } from "../../platform/errors.js";
import type { Principal } from "../../platform/rpc/principal.js";
import type { InvocationDeps } from "../deps.js";
import type { StartCommand } from "../requests.js";
import { bodyHashOf, repeatedStart } from "./idempotency.js";

/** Those that tell of the version that is the newest now. */
const OF_VERSION: ReadonlySet<string> = new Set([
  "FunctionDoesNotExist",
  "VersionDoesNotExist",
  "FunctionInputIsInvalid",
]);

/** What the first start with this key was answered; undefined where there was none. */
export async function answerRepeated(
  { db, store, catalog, clock }: InvocationDeps,
  command: StartCommand,
  refusal: Refusal,
  principal: Principal,
  signal: AbortSignal,
): Promise<string | Refusal | undefined> {
  const { idempotencyKey, parentId } = command;
  if (idempotencyKey === null || !OF_VERSION.has(refusal.reason)) return undefined;
  // Others' children are not for it to know of.
  if (principal.kind === "execution" && parentId !== principal.invocationId) return undefined;
  const project = await catalog
    .resolveProject({ projectName: command.projectName }, { signal })
    .catch((error: unknown) => {
      if (error instanceof Refusal) return error; // the others of its batch are not refused with it
      throw error;
    });
  if (project instanceof Refusal) return project;
  const { projectId } = project;
  const first = await db.read((tx) => store.findIdempotent(tx, projectId, idempotencyKey));
  return repeatedStart(first, { key: idempotencyKey, bodyHash: bodyHashOf(projectId, command) }, clock.now());
}

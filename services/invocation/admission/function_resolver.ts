/**
 * Asks the registry which version and function a start means, and remembers it for as long as the registry allows: whoever
 * deploys or deletes is answered only after that, so that a later start finds what was deployed.
 */
import type {
  CatalogServiceClient,
  FunctionRef,
  ResolvedFunction,
} from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { isReason } from "../../../sdk/typescript/src/protocol/reasons.js";
import {
  functionDoesNotExist,
  projectDoesNotExist,
  projectIsBeingDeleted,
  Refusal,
  versionDoesNotExist,
} from "../../platform/errors.js";

/** Functions that are remembered. */
const MOST_REMEMBERED = 5_000;

interface Remembered {
  readonly resolved: ResolvedFunction;
  /** By `performance.now()`, in milliseconds. */
  readonly until: number;
}

export class FunctionResolver {
  readonly #catalog: Pick<CatalogServiceClient, "resolveFunctions">;
  readonly #remembered = new Map<string, Remembered>();

  constructor(catalog: Pick<CatalogServiceClient, "resolveFunctions">) {
    this.#catalog = catalog;
  }

  /** An outcome for each function, in the order of `refs`. */
  async resolve(refs: readonly FunctionRef[], signal: AbortSignal): Promise<(ResolvedFunction | Refusal)[]> {
    const askedAt = performance.now();
    const known = refs.map((ref) => this.#recall(ref, askedAt));
    const unknown = refs.filter((_, place) => known[place] === undefined);
    if (unknown.length === 0) return known.filter((resolved) => resolved !== undefined);
    const { outcomes, cacheMs } = await this.#catalog.resolveFunctions({ functions: unknown }, { signal });
    let next = 0;
    return refs.map((ref, place) => {
      const recalled = known[place];
      if (recalled !== undefined) return recalled;
      const outcome = outcomes[next]?.outcome;
      next += 1;
      if (outcome?.$case !== "function") return refusalOf(outcome?.value ?? "", ref);
      if (cacheMs > 0) this.#remember(ref, { resolved: outcome.value, until: askedAt + cacheMs });
      return outcome.value;
    });
  }

  #recall(ref: FunctionRef, now: number): ResolvedFunction | undefined {
    const remembered = this.#remembered.get(keyOf(ref));
    return remembered !== undefined && now < remembered.until ? remembered.resolved : undefined;
  }

  #remember(ref: FunctionRef, remembered: Remembered): void {
    if (this.#remembered.size >= MOST_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(keyOf(ref), remembered);
  }
}

export function keyOf({ projectName, versionId, functionName }: FunctionRef): string {
  return `${projectName}/${versionId}/${functionName}`;
}

function refusalOf(reason: string, { projectName, versionId, functionName }: FunctionRef): Refusal {
  if (!isReason(reason)) throw new Error(`the registry gave the unknown reason "${reason}"`);
  if (reason === "ProjectDoesNotExist") return projectDoesNotExist(projectName);
  if (reason === "ProjectIsBeingDeleted") return projectIsBeingDeleted(projectName);
  if (reason === "VersionDoesNotExist") return versionDoesNotExist(projectName, versionId);
  if (reason === "FunctionDoesNotExist") return functionDoesNotExist(projectName, versionId, functionName);
  return new Refusal(reason, reason, { metadata: { projectName, versionId, functionName } });
}

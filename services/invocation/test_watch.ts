import { Refusal } from "../platform/errors.js";
import { type Life, NEW_LIFE } from "./domain/life.js";
import type { Identity, StoredInvocation } from "./store.js";
import type { WatchSource } from "./watch_session.js";

/** A store in memory that counts how often it is read. */
export class Store implements WatchSource {
  readonly states = new Map<string, StoredInvocation>();
  readonly loads: string[][] = [];
  readonly hidden = new Set<string>();
  /** Called between the reading of the store and its answer. */
  duringLoad = () => {};

  readonly atHand = new Map<string, StoredInvocation>();

  known(id: string): StoredInvocation | undefined {
    return this.atHand.get(id);
  }

  async load(ids: readonly string[]): Promise<readonly StoredInvocation[]> {
    this.loads.push([...ids]);
    const found = ids.map((id) => this.states.get(id)).filter((state) => state !== undefined);
    await Promise.resolve();
    this.duringLoad();
    return found;
  }

  refusal({ identity }: StoredInvocation): Refusal | undefined {
    return this.hidden.has(identity.id) ? new Refusal("InvocationDoesNotExist", "hidden") : undefined;
  }
}

export function stateOf(id: string, life: Partial<Life>): StoredInvocation {
  const identity: Identity = {
    id,
    projectId: "prj",
    projectName: "p",
    functionName: "f",
    versionId: "ver",
    parentId: null,
    depth: 0,
    createdAt: 1,
    expiresAt: null,
  };
  return { identity, life: { ...NEW_LIFE, ...life } };
}

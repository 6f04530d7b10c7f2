/**
 * Short keys of functions and queues: the first 52 bits of the SHA-256 of their names. Being made of the names, a key is
 * the same wherever and whenever it is made, and can be remembered whatever becomes of a transaction.
 */
import { hash } from "node:crypto";
import type { ReadTransaction } from "../../platform/store/db.js";
import type { StoredInvocation } from "../store.js";
import { type FunctionNames, type InvocationRow, storedInvocation } from "./rows.js";

/** Keys and names kept in memory. */
const MOST_KEYS = 20_000;

/** Makes keys, and finds the names behind them, which never change and so are read once. */
export class Keys {
  readonly #keys = new Map<string, Map<string, number>>();
  #size = 0;
  readonly #names = new Map<number, FunctionNames>();

  ofFunction(versionId: string, functionName: string): number {
    return this.#keyOf(versionId, functionName);
  }

  ofQueue(projectId: string, functionName: string): number {
    return this.#keyOf(projectId, functionName);
  }

  async namesOf(tx: ReadTransaction, functionKey: number): Promise<FunctionNames> {
    const known = this.#names.get(functionKey);
    if (known !== undefined) return known;
    const names = await tx.get<FunctionNames>(
      `SELECT version_id AS "versionId", function_name AS "functionName", project_id AS "projectId",
         project_name AS "projectName" FROM functions WHERE function_key = ?`,
      functionKey,
    );
    if (names === undefined) throw new Error(`the function with the key ${functionKey} is not stored`);
    if (this.#names.size >= MOST_KEYS) this.#names.clear();
    this.#names.set(functionKey, names);
    return names;
  }

  /** Rows as invocations. */
  async invocations(tx: ReadTransaction, rows: readonly InvocationRow[]): Promise<StoredInvocation[]> {
    const invocations = [];
    for (const row of rows) {
      const names = this.#names.get(row[1]) ?? (await this.namesOf(tx, row[1]));
      invocations.push(storedInvocation(row, names));
    }
    return invocations;
  }

  /** `id` is of a version or a project, which never are the same. */
  #keyOf(id: string, functionName: string): number {
    const known = this.#keys.get(id)?.get(functionName);
    if (known !== undefined) return known;
    const key = Number.parseInt(hash("sha256", `${id}/${functionName}`).slice(0, 13), 16);
    if (this.#size >= MOST_KEYS) {
      this.#keys.clear();
      this.#size = 0;
    }
    const ofId = this.#keys.get(id) ?? new Map<string, number>();
    this.#keys.set(id, ofId.set(functionName, key));
    this.#size += 1;
    return key;
  }
}

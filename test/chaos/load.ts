/** The client's side: starts, cancels, waits and looks, and writes down what it is told. */
import { setTimeout as delay } from "node:timers/promises";
import type { MultinodeClient } from "../../sdk/typescript/src/client/client.js";
import { type DeployedFunction, getDeployedFunction } from "../../sdk/typescript/src/deployed.js";
import {
  InvocationDoesNotExist,
  InvocationIsAlreadyTerminated,
  MultinodeError,
} from "../../sdk/typescript/src/errors.js";
import type { History } from "./history.js";
import type { PlannedStart } from "./workload.js";

export interface LoadSettings {
  readonly client: MultinodeClient;
  readonly projectName: string;
  readonly history: History;
  /** File in which the functions write down what they do. */
  readonly journal: string;
}

/** Looks that are on their way at the same time. */
const LOOKS_AT_ONCE = 50;
/** Longest time from the last start of the server to the end of everything: so long, and so much more for each invocation. */
const END_BOUND_MS = 120_000;
const END_BOUND_EACH_MS = 100;

type ChaosFunction = (order: { n: number; workMs: number; journal: string }) => unknown;

export class Load {
  readonly #settings: LoadSettings;
  readonly #ids = new Map<string, string>();
  readonly #waits: Promise<void>[] = [];
  #lookedAt = 0;

  constructor(settings: LoadSettings) {
    this.#settings = settings;
  }

  get ids(): readonly string[] {
    return [...this.#ids.keys()];
  }

  /** Starts what is planned, one after the other; resolves when all are acknowledged. */
  async start(planned: readonly PlannedStart[]): Promise<void> {
    const starts: Promise<void>[] = [];
    for (const plan of planned) {
      await delay(plan.afterMs);
      starts.push(this.#startOne(plan));
      if (plan.isRepeated) starts.push(this.#startOne(plan));
    }
    await Promise.all(starts);
  }

  /** Gets what was acknowledged: everything, or, where that is more than `most`, so many, which are others each time. */
  async look(most = Number.POSITIVE_INFINITY): Promise<void> {
    const { history } = this.#settings;
    const all = [...this.#ids];
    const at = this.#lookedAt < all.length ? this.#lookedAt : 0;
    this.#lookedAt = at + most;
    const ids = all.length > most ? all.slice(at, at + most) : all;
    const lookAtNext = async (): Promise<void> => {
      for (let next = ids.pop(); next !== undefined; next = ids.pop()) {
        const [id, functionName] = next;
        try {
          history.saw(await this.#function(functionName).get(id), "with executions");
        } catch (error) {
          // One that was not answered is looked for again after the next start.
          if (error instanceof InvocationDoesNotExist) history.add({ type: "missing", id, error: String(error) });
        }
      }
    };
    await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, lookAtNext));
  }

  /** Waits until everything is terminated, children included, and writes down how it ended. */
  async finish(functionNames: readonly string[]): Promise<void> {
    const { history } = this.#settings;
    const signal = AbortSignal.timeout(END_BOUND_MS + END_BOUND_EACH_MS * this.#ids.size);
    await Promise.all(this.#waits);
    await Promise.all([...this.#ids].map(([id, name]) => this.#untilTerminated(name, id, signal)));
    history.add({ type: "healed" });
    for (const functionName of functionNames) {
      const fn = this.#function(functionName);
      const listed: string[] = [];
      let offset: string | undefined;
      do {
        const page = await fn.list({ offset, pageSize: 200, signal });
        for (const { id, parentInvocationId } of page.invocations) {
          await this.#untilTerminated(functionName, id, signal);
          history.saw(await fn.get(id, { signal }), "with executions");
          // How many children there are is up to the attempts of their parents.
          if (parentInvocationId === undefined) listed.push(id);
        }
        offset = page.offset;
      } while (offset !== undefined);
      history.add({ type: "listed", functionName, ids: listed });
    }
  }

  async #startOne(plan: PlannedStart): Promise<void> {
    const { history, journal } = this.#settings;
    const { functionName, n, workMs, idempotencyKey } = plan;
    const fn = this.#function(functionName);
    try {
      const id = await (idempotencyKey === undefined ? fn : fn.withOptions({ idempotencyKey })).start({
        n,
        workMs,
        journal,
      });
      history.add({ type: "started", id, functionName, n, key: idempotencyKey });
      this.#ids.set(id, functionName);
      this.#waits.push(this.#follow(id));
      if (plan.cancelAfterMs !== undefined) this.#waits.push(this.#cancel(functionName, id, plan.cancelAfterMs));
    } catch (error) {
      history.add({ type: "unacknowledged", functionName, error: String(error) });
    }
  }

  /** Waits for its end on the stream that all waits share, through every restart. */
  async #follow(id: string): Promise<void> {
    const { client, history } = this.#settings;
    const signal = AbortSignal.timeout(10 * END_BOUND_MS);
    try {
      history.saw(await client.awaitFinished(id, signal), "without executions");
    } catch (error) {
      if (!(error instanceof InvocationDoesNotExist)) throw error;
      history.add({ type: "missing", id, error: String(error) });
    }
  }

  async #cancel(functionName: string, id: string, afterMs: number): Promise<void> {
    await delay(afterMs);
    for (;;) {
      try {
        await this.#function(functionName).cancel(id);
        this.#settings.history.add({ type: "cancelled", id });
        return;
      } catch (error) {
        if (error instanceof InvocationIsAlreadyTerminated) return;
        if (!(error instanceof MultinodeError)) throw error;
        await delay(100);
      }
    }
  }

  async #untilTerminated(functionName: string, id: string, signal: AbortSignal): Promise<void> {
    try {
      for await (const { terminated } of this.#function(functionName).watch(id, { until: "terminated", signal })) {
        if (terminated) return;
      }
    } catch (error) {
      // What has not ended is told by the checker.
      if (!signal.aborted && !(error instanceof InvocationDoesNotExist)) throw error;
    }
  }

  #function(functionName: string): DeployedFunction<ChaosFunction> {
    const { client, projectName } = this.#settings;
    return getDeployedFunction<ChaosFunction>({ projectName, functionName, client });
  }
}

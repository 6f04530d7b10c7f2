/** What runtimes of containers do beside what all do, and what their tests look at. */
import { describe, expect, it, vi } from "vitest";
import type {
  SharedRuntime,
  WorkerBoot,
  WorkerExit,
  WorkerResources,
} from "../../services/scheduler/runtime/runtime.js";

/** What the test worker says of itself when it has booted. */
export type Said = WorkerBoot & { readonly env: Record<string, string> };

export const CONTAINER_WAIT = { timeout: 30_000, interval: 50 };

/** Starts workers of a runtime, and keeps what they print and how they end. */
export class WorkerRecorder {
  readonly exits: WorkerExit[] = [];
  readonly #runtime: SharedRuntime;
  readonly #printed = new Map<string, string[]>();

  constructor(runtime: SharedRuntime) {
    this.#runtime = runtime;
    runtime.onExit((exit) => this.exits.push(exit));
    runtime.onOutput((workerId, _stream, line) => this.#printed.set(workerId, [...this.printed(workerId), line]));
  }

  /** @param workerToken what the test worker is to do */
  start(workerToken: string, workerId = "wrk-1", resources?: WorkerResources): Promise<string> {
    const boot = { schedulerUrl: "http://127.0.0.1:1", workerId, workerToken };
    return this.#runtime.start({ workerId, boot, resources });
  }

  printed(workerId: string): readonly string[] {
    return this.#printed.get(workerId) ?? [];
  }

  boot(workerId: string): Promise<Said> {
    return vi.waitFor(() => JSON.parse(this.printed(workerId)[0] ?? "") as Said, CONTAINER_WAIT);
  }

  exitOf(workerId = "wrk-1"): Promise<WorkerExit> {
    return vi.waitFor(() => {
      const exit = this.exits.find((other) => other.workerId === workerId);
      if (exit === undefined) throw new Error("it has not ended");
      return exit;
    }, CONTAINER_WAIT);
  }
}

/** @param current of the runtime of the running test */
export function testContainerEnds(current: () => WorkerRecorder): void {
  describe("that ends", () => {
    it("by itself tells its code, and its output before that", async () => {
      await current().start("prints");
      const exit = await current().exitOf();
      expect(exit).toEqual({ workerId: "wrk-1", description: "exited with code 0", outOfMemory: false });
      expect(current().printed("wrk-1").toSorted()).toEqual(["one", "three", "two"]);
    });

    it("because it takes more memory than it may is told so", async () => {
      await current().start("takes too much memory");
      const exit = await current().exitOf();
      expect(exit).toEqual({ workerId: "wrk-1", description: "was killed by SIGKILL", outOfMemory: true });
    });
  });
}

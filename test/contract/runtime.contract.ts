/** What every implementation of the runtime must do: R1 to R4 of `services/scheduler/runtime/runtime.ts`. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Runtime, WorkerBoot, WorkerExit } from "../../services/scheduler/runtime/runtime.js";

export interface TestRuntime {
  readonly runtime: Runtime;
  /** What a worker was told at its boot, once it has read it. */
  boot(workerId: string): Promise<WorkerBoot>;
  /** Makes a worker end by itself. */
  end(workerId: string): void;
  /** Makes the next start fail. */
  failStart(): void;
  /** Removes what is left when the runtime is closed. */
  remove(): Promise<void>;
}

export const WAIT = { timeout: 10_000, interval: 10 };

export function testRuntime(open: () => Promise<TestRuntime>): void {
  let test: TestRuntime;
  let exits: WorkerExit[];

  beforeEach(async () => {
    test = await open();
    exits = [];
    test.runtime.onExit((exit) => exits.push(exit));
    test.runtime.onOutput(() => {});
  });
  afterEach(async () => {
    await test.runtime.close();
    await test.remove();
  });

  const start = async (): Promise<string> => {
    const workerId = `wrk-${randomBytes(8).toString("hex")}`;
    const boot = { schedulerUrl: "http://127.0.0.1:1", workerId, workerToken: `token of ${workerId}` };
    expect(await test.runtime.start({ workerId, boot })).not.toBe("");
    return workerId;
  };
  const exitsOf = (workerId: string) => exits.filter((exit) => exit.workerId === workerId);

  describe("a worker", () => {
    it("is told where it belongs", async () => {
      const workerId = await start();
      expect(await test.boot(workerId)).toMatchObject({
        schedulerUrl: "http://127.0.0.1:1",
        workerId,
        workerToken: `token of ${workerId}`,
      });
    });

    it("exists from its start until it is stopped", async () => {
      const [one, other] = [await start(), await start()];
      expect((await test.runtime.list()).sort()).toEqual([one, other].sort());
      await test.boot(one);
      await test.runtime.stop(one);
      expect(await test.runtime.list()).toEqual([other]);
    });

    it("may be stopped before it has booted", async () => {
      const workerId = await start();
      await test.runtime.stop(workerId);
      expect(await test.runtime.list()).toEqual([]);
      expect(exitsOf(workerId)).toHaveLength(1);
    });

    it("takes limits, also after it has gone", async () => {
      const workerId = await start();
      await test.runtime.limit(workerId, { cpu: 0.5, memoryBytes: 1 << 28 });
      await test.runtime.stop(workerId);
      await test.runtime.limit(workerId, { cpu: 0.5, memoryBytes: 1 << 28 });
    });
  });

  describe("the end of a worker", () => {
    it("is told once, when it was stopped (R3)", async () => {
      const workerId = await start();
      await Promise.all([test.runtime.stop(workerId), test.runtime.stop(workerId)]);
      await test.runtime.stop(workerId);
      await vi.waitFor(() => expect(exitsOf(workerId)).toHaveLength(1), WAIT);
      expect(exitsOf(workerId)[0]).toMatchObject({ description: expect.stringMatching(/./), outOfMemory: false });
    });

    it("is told once, when it ended by itself (R3)", async () => {
      const [workerId, other] = [await start(), await start()];
      await test.boot(workerId);
      test.end(workerId);
      await vi.waitFor(() => expect(exitsOf(workerId)).toHaveLength(1), WAIT);
      await vi.waitFor(async () => expect(await test.runtime.list()).toEqual([other]), WAIT);
      await test.runtime.stop(workerId);
      expect(exits).toHaveLength(1);
    });

    it("may be asked for where there is none", async () => {
      await test.runtime.stop("wrk-of-nobody");
      expect(exits).toEqual([]);
    });
  });

  it("fails a start that cannot be, and whatever is left can be stopped (R1)", async () => {
    test.failStart();
    const boot = { schedulerUrl: "http://127.0.0.1:1", workerId: "wrk-failed", workerToken: "t" };
    await expect(test.runtime.start({ workerId: "wrk-failed", boot })).rejects.toBeInstanceOf(Error);
    await test.runtime.stop("wrk-failed");
    expect(await test.runtime.list()).toEqual([]);
  });

  it("ends all workers when it is closed, and may be closed again (R4)", async () => {
    const ids = [await start(), await start(), await start()];
    await test.runtime.close();
    expect(await test.runtime.list()).toEqual([]);
    await vi.waitFor(() => expect(exits.map(({ workerId }) => workerId).sort()).toEqual([...ids].sort()), WAIT);
    await test.runtime.close();
  });
}

/** A scheduler looks at once when hints were missed. */
import { expect, it, vi } from "vitest";
import { MemoryBus } from "../platform/bus/memory.js";
import { openTestScheduler } from "./test_scheduler.js";

/** Less than the time after which it would look anyway. */
const WAIT = { timeout: 4_000, interval: 5 };

it("a scheduler that missed a cancellation and a deployment learns of both", async () => {
  // It hears nothing of what the invocation service publishes.
  const bus = new MemoryBus();
  const test = await openTestScheduler({ bus });
  test.catalog.add("f");
  const id = await test.start("f");
  const [execution] = await test.running(1);
  await test.cancel(id);
  test.catalog.add("warm", { minWorkers: 1, maxInvocationsPerWorker: 0 });
  expect(execution?.interruptions).toEqual([]);
  bus.tellMissed();
  await vi.waitFor(() => expect(execution?.interruptions).toHaveLength(1), WAIT);
  await vi.waitFor(() => expect(test.runtime.workers).toHaveLength(2), WAIT);
  await test.close();
});

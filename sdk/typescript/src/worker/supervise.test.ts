/** The supervisor in front of a main thread that a test is, or that never answers. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LogLine } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { type FirstExecution, newFlags, type ToMain } from "./messages.js";
import { Supervisor } from "./supervise.js";
import { FakeScheduler } from "./testing/fake_scheduler.js";

const WAIT = { timeout: 10_000, interval: 5 };
const CODE_LOAD_MS = 300;
const BEAT_MS = 50;
/** More than this process has, which is not what is looked at here. */
const MEMORY_BYTES = 2 ** 36;
const DIGEST = "0".repeat(64);
const ERROR = { error: "CodeLoadTimeoutError: the code did not finish loading within 0.3 s", interrupted: false };

let scheduler: FakeScheduler;
let mainPort: MessagePort | undefined;
let die = vi.fn<() => void>();
/** Where the bundle is unpacked already. */
const bundleCacheDir = mkdtempSync(join(tmpdir(), "multinode-test-"));
mkdirSync(join(bundleCacheDir, DIGEST));
afterAll(() => rmSync(bundleCacheDir, { recursive: true }));

beforeEach(async () => {
  scheduler = new FakeScheduler({ statusIntervalMs: BEAT_MS });
  await scheduler.start();
  die = vi.fn<() => void>(); // those of other tests may still be called
});
afterEach(() => {
  scheduler.stop();
  mainPort?.close();
});

/** Answers the main thread's side. */
function supervise(firstWork?: FirstExecution): MessagePort {
  const { port1, port2 } = new MessageChannel();
  const data = { port: port2, flags: newFlags(), config: undefined, firstWork };
  const config = { schedulerUrl: scheduler.url, otherUrls: [], workerId: "w", workerToken: "t", bundleCacheDir };
  new Supervisor(data, config, { codeLoadMs: CODE_LOAD_MS, die }).start();
  mainPort = port1;
  return port1;
}

function bind(): void {
  const source = { $case: "bundle", value: { digest: DIGEST } } as const;
  const fn = { functionName: "f", options: { memoryBytes: MEMORY_BYTES } };
  scheduler.send({ $case: "bind", value: { function: fn, code: { source } } });
}

describe("code that does not finish loading", () => {
  test("fails what waits for it, and the worker ends", async () => {
    supervise();
    bind();
    scheduler.assign("e1");
    scheduler.assign("e2");
    expect(await scheduler.outcome("e1")).toEqual(ERROR);
    expect(await scheduler.outcome("e2")).toEqual(ERROR);
    for (const ended of scheduler.of("ended")) expect(ended).toMatchObject({ started: false });
    expect(scheduler.of("leaving")).toHaveLength(1);
    await vi.waitFor(() => expect(die).toHaveBeenCalled(), WAIT);
  });

  test("fails what the worker was started for", async () => {
    supervise({ executionId: "e1", executionToken: "token", memoryBytes: MEMORY_BYTES });
    expect(await scheduler.outcome("e1")).toEqual(ERROR);
    await vi.waitFor(() => expect(die).toHaveBeenCalled(), WAIT);
  });

  test("ends also a worker that nothing waits for", async () => {
    supervise();
    bind();
    await vi.waitFor(() => expect(die).toHaveBeenCalled(), WAIT);
  });
});

test("lines that a broken connection may have lost are sent again on the next", async () => {
  const main = supervise();
  bind();
  scheduler.assign("e1");
  main.postMessage([{ kind: "loaded", isUsable: true }]);
  main.postMessage([{ kind: "lines", lines: [LogLine.fromPartial({ executionId: "e1", lineNumber: 1, text: "a" })] }]);
  await scheduler.until(() => scheduler.lines("e1").length > 0, "the line");
  scheduler.stop();
  scheduler.events.length = 0;
  await scheduler.start();
  const [again] = await scheduler.until(
    () => scheduler.lines("e1").length > 0 && scheduler.lines("e1"),
    "the line again",
  );
  expect(again).toMatchObject({ lineNumber: 1, text: "a" });
});

test("code that is loaded may run for as long as it likes", async () => {
  const main = supervise();
  main.on("message", (messages: readonly ToMain[]) => {
    for (const message of messages) {
      if (message.kind === "bind") main.postMessage([{ kind: "loaded", isUsable: true }]);
      if (message.kind === "assign") main.postMessage([{ kind: "began", executionIds: ["e1"] }]);
    }
  });
  bind();
  scheduler.assign("e1");
  await scheduler.until(() => scheduler.of("started").length > 0, "the start");
  const beats = scheduler.of("status").length;
  await scheduler.until(
    () => scheduler.of("status").length > beats + (2 * CODE_LOAD_MS) / BEAT_MS,
    "beats for longer than code may load",
  );
  expect(scheduler.of("ended")).toEqual([]);
  expect(die).not.toHaveBeenCalled();
});

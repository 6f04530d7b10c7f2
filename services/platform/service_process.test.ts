/** A service as a process: here it is the one of the tests, which never ends by itself. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { runService } from "./service_process.js";

const FAULTS = "uncaughtException";
let folder = "";
const handlers = process.listeners(FAULTS);

afterEach(async () => {
  vi.restoreAllMocks();
  for (const handler of process.listeners(FAULTS)) {
    if (!handlers.includes(handler)) process.removeListener(FAULTS, handler);
  }
  await rm(folder, { recursive: true });
});

it("that has stopped in order ends, with exit status 0, also where something is left over", async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-service-"));
  const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
  const calls: string[] = [];
  const settings = {
    MULTINODE_LISTEN: { host: "127.0.0.1", port: 0 },
    MULTINODE_DATA_DIR: folder,
    MULTINODE_SERVICE_TOKEN: "x".repeat(40),
    MULTINODE_LOG_LEVEL: "silent",
    MULTINODE_INSECURE: "false" as const,
  };
  const running = runService("test", settings, async () => ({
    authorities: [],
    addTo: () => [],
    started: async () => void calls.push("started"),
    stop: async () => void calls.push("stop"),
    close: async () => void calls.push("close"),
  }));
  await vi.waitFor(() => expect(calls).toEqual(["started"]));
  process.emit("SIGTERM");
  await running;
  expect(calls).toEqual(["started", "stop", "close"]);
  await vi.waitFor(() => expect(exit).toHaveBeenCalled(), { timeout: 10_000, interval: 20 });
  expect(exit.mock.calls).toEqual([[0]]);
});

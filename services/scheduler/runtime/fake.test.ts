import { describe } from "vitest";
import { testRuntime } from "../../../test/contract/runtime.contract.js";
import { FakeRuntime } from "./fake.js";
import type { WorkerBoot } from "./runtime.js";

describe("the fake runtime", () => {
  testRuntime(async () => {
    const runtime = new FakeRuntime({
      connect: async function* () {
        await new Promise(() => {});
        yield { commands: [] };
      },
    });
    const boots = new Map<string, WorkerBoot>();
    const start = runtime.start.bind(runtime);
    runtime.start = (spec) => {
      boots.set(spec.workerId, spec.boot);
      return start(spec);
    };
    return {
      runtime,
      boot: async (workerId) => boots.get(workerId) ?? { schedulerUrl: "", workerId: "", workerToken: "" },
      end: (workerId) => runtime.workers.get(workerId)?.die("exited with code 0"),
      failStart: () => {
        runtime.startError = new Error("it was to fail");
      },
      remove: async () => {},
    };
  });
});

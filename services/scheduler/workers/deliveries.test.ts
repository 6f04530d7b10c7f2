import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import type { Runtime } from "../runtime/runtime.js";
import { openTestScheduler } from "../test_scheduler.js";

let test: Awaited<ReturnType<typeof openTestScheduler>>;

beforeEach(async () => {
  test = await openTestScheduler();
});
afterEach(() => test.close());

it("a runtime hears of a worker's bundle before the worker does", async () => {
  const runtime: Runtime = test.runtime;
  const heard = vi.fn((workerId: string, digest: string) => {
    const said = test.runtime.workers.get(workerId)?.commands.map(({ $case }) => $case);
    return { digest, said };
  });
  runtime.usesBundle = heard;
  test.catalog.add("f");
  const id = await test.start("f");
  const [execution] = await test.running(1);
  expect(heard.mock.results[0]?.value).toEqual({ digest: "d", said: ["welcome"] });
  expect(execution?.worker.commands.map(({ $case }) => $case)).toContain("prepare");
  execution?.return(1);
  await test.becomes(id, { status: Status.SUCCEEDED });
});

/** Functions in images of their own, with fake workers on a real invocation service. */
import { createHash } from "node:crypto";
import type { CallContext } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import type { Caller } from "../../platform/rpc/principal.js";
import { FakeImages } from "../runtime/fake_images.js";
import { ImageBuildError } from "../runtime/runtime.js";
import { openTestScheduler } from "../test_scheduler.js";

const WAIT = { timeout: 5_000, interval: 5 };
const CONTEXT = Buffer.from("an archive");
const DIGEST = createHash("sha256").update(CONTEXT).digest("hex");
const NAME = `image of ${DIGEST}`;

let images: FakeImages;
let test: Awaited<ReturnType<typeof openTestScheduler>>;

beforeEach(async () => {
  images = new FakeImages();
  test = await openTestScheduler({ images, spareWorkers: 1, maxWorkers: 2 });
  test.catalog.bundles.set(DIGEST, CONTEXT);
  test.catalog.usedBundles.add(DIGEST);
});
afterEach(() => test.close());

/** The build of this number, once it has begun. */
async function build(number: number) {
  return await vi.waitFor(() => {
    const found = images.builds[number - 1];
    if (found === undefined) throw new Error(`${images.builds.length} builds were begun`);
    return found;
  }, WAIT);
}

async function one() {
  const [execution] = await test.running(1);
  if (execution === undefined) throw new Error("nothing runs");
  return execution;
}

describe("a function in an image of its own", () => {
  it("runs in it, never in a spare, and others in the standard one", async () => {
    images.names.set(DIGEST, NAME);
    test.catalog.add("own", {}, DIGEST);
    test.catalog.add("plain");
    await vi.waitFor(() => expect(test.runtime.history).toHaveLength(1), WAIT);
    const id = await test.start("own");
    const execution = await one();
    expect(execution.worker.image).toBe(NAME);
    execution.return(1);
    await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
    await test.start("plain");
    const plain = await one();
    expect(plain.worker.image).toBeUndefined();
    expect(images.builds).toEqual([]);
    plain.return(1);
  });

  it("waits until its image is built, once for all that wait, and holds up no other function", async () => {
    test.catalog.add("own", { maxConcurrency: 50 }, DIGEST);
    test.catalog.add("plain");
    const ids = await Promise.all(Array.from({ length: 5 }, () => test.start("own")));
    const { context, succeed } = await build(1);
    expect(Buffer.from(context)).toEqual(CONTEXT);
    for (let round = 0; round < 3; round++) {
      const plain = await test.start("plain");
      (await one()).return(1);
      await test.becomes(plain, { status: Status.SUCCEEDED, terminated: true });
    }
    for (const id of ids) expect(await test.get(id)).toMatchObject({ status: Status.PENDING, numFailedAttempts: 0 });
    succeed();
    for (const [index, id] of ids.entries()) {
      const execution = await vi.waitFor(() => {
        const found = test.runtime.executions[0];
        if (found === undefined) throw new Error(`nothing runs in place ${index}`);
        return found;
      }, WAIT);
      expect(execution.worker.image).toBe(NAME);
      execution.return(index);
      await test.becomes(execution.assigned.invocationId, { status: Status.SUCCEEDED });
      expect(ids).toContain(id);
    }
    expect(images.builds).toHaveLength(1);
  });

  it("fails with what its build ended with, and is tried again by its retries", async () => {
    test.catalog.add("own", { maxRetries: 1 }, DIGEST);
    const id = await test.start("own");
    const first = await build(1);
    first.print("Step 1: RUN missing\n");
    first.print("missing: not found\n");
    first.fail(new ImageBuildError("status 127"));
    const waiting = await test.becomes(id, { numFailedAttempts: 1, status: Status.PENDING });
    expect(waiting.error).toMatch(
      /^ProvisioningError: the image could not be built: status 127\nStep 1: RUN missing\nmissing: not found$/,
    );
    (await build(2)).succeed();
    (await one()).return(1);
    await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
  });

  it("waits through an outage of the engine, which is no failed attempt", async () => {
    images.outage = new Error("no answer");
    test.catalog.add("own", {}, DIGEST);
    const id = await test.start("own");
    await vi.waitFor(async () => expect(await test.get(id)).toMatchObject({ status: Status.PENDING }), WAIT);
    images.outage = undefined;
    (await build(1)).succeed();
    (await one()).return(1);
    await test.becomes(id, { status: Status.SUCCEEDED, numFailedAttempts: 0 });
  });

  it("gets its image built again that was taken away, which is no failed attempt", async () => {
    images.names.set(DIGEST, NAME);
    test.catalog.add("own", {}, DIGEST);
    const first = await test.start("own");
    (await one()).return(1);
    await test.becomes(first, { status: Status.SUCCEEDED, terminated: true });
    images.names.clear();
    const second = await test.start("own");
    (await build(1)).succeed();
    (await one()).return(1);
    await test.becomes(second, { status: Status.SUCCEEDED, numFailedAttempts: 0 });
  });

  it("does not keep others from starting when its workers cannot", async () => {
    images.names.set(DIGEST, NAME);
    test.catalog.add("own", {}, DIGEST);
    test.catalog.add("plain");
    await vi.waitFor(() => expect(test.runtime.history).toHaveLength(1), WAIT);
    test.runtime.boot = "ends";
    await test.becomes(await test.start("own"), {
      status: Status.FAILED,
      error: expect.stringMatching(/^ProvisioningError: the worker exited/),
    });
    test.runtime.boot = "connects";
    for (let round = 0; round < 2; round++) {
      const plain = await test.start("plain");
      (await one()).return(1);
      await test.becomes(plain, { status: Status.SUCCEEDED });
    }
  });

  it("that keeps a warm worker has it in its image", async () => {
    images.names.set(DIGEST, NAME);
    test.catalog.add("own", { minWorkers: 1, maxInvocationsPerWorker: 0 }, DIGEST);
    test.bus.publish({ $case: "project", value: { projectName: test.catalog.projectName } });
    await vi.waitFor(() => expect(test.runtime.history.some(({ image }) => image === NAME)).toBe(true), WAIT);
  });
});

describe("images", () => {
  it("go when no version uses them, and stay while one does", async () => {
    const other = "b".repeat(64);
    images.names.set(DIGEST, NAME).set(other, "other");
    test.bus.publish({ $case: "project", value: { projectName: "p" } });
    await vi.waitFor(() => expect([...images.names.keys()]).toEqual([DIGEST]), WAIT);
  });
});

it("without images, a build is refused, and a function in one fails and says what it needs", async () => {
  const bare = await openTestScheduler();
  try {
    const context = { signal: new AbortController().signal } as CallContext & Caller;
    const build = bare.service.operators.buildImage({ contextDigest: DIGEST }, context)[Symbol.asyncIterator]();
    await expect(build.next()).rejects.toMatchObject({ reason: "ImagesAreNotSupported" });
    const bad = bare.service.operators.buildImage({ contextDigest: "x" }, context)[Symbol.asyncIterator]();
    await expect(bad.next()).rejects.toThrow(/^context_digest: "x" is not a SHA-256/);
    bare.catalog.add("own", {}, DIGEST);
    const failed = await bare.becomes(await bare.start("own"), { status: Status.FAILED });
    expect(failed.error).toMatch(/^ProvisioningError: this server builds no images, which a Dockerfile needs/);
  } finally {
    await bare.close();
  }
});

/** How a worker process gets its code. */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { zipSync } from "fflate";
import { describe, expect, test, vi } from "vitest";
import { createArchive } from "../bundle/archive.js";
import { EXAMPLE_MAIN } from "./testing/example_main.js";
import { FakeScheduler } from "./testing/fake_scheduler.js";
import { spawnInContainer } from "./testing/spawn_worker.js";
import { EXAMPLE, useWorker } from "./testing/worker_fixture.js";

const fixture = useWorker();

const WAIT = { timeout: 10_000, interval: 10 };
const BROKEN_MAIN = `console.log("loading"); throw new SyntaxError("broken on purpose");`;

/** Where certificates of authorities are, which functions need to know too. */
const TRUST = {
  NODE_EXTRA_CA_CERTS: "/nowhere/extra.pem",
  SSL_CERT_FILE: "/nowhere/all.pem",
  SSL_CERT_DIR: "/nowhere",
};

describe("the code", () => {
  async function runArchive(bytes: Uint8Array, digest: string): Promise<string | undefined> {
    fixture.scheduler.bundles.set(digest, bytes);
    fixture.scheduler.bind("add", digest);
    fixture.scheduler.assign("e1", [1, 2]);
    return (await fixture.scheduler.outcome("e1")).error;
  }

  test("that throws while it is loaded fails what was assigned, and then the worker ends", async () => {
    const broken = createArchive(new Map([["main.mjs", { data: Buffer.from(BROKEN_MAIN) }]]));
    expect(await runArchive(broken.bytes, broken.digest)).toBe("SyntaxError: broken on purpose");
    expect(fixture.scheduler.lines("e1")[0]?.text).toBe("loading");
    expect(await fixture.scheduler.ended("e1")).toMatchObject({ started: false });
    const said = fixture.scheduler.events.map(({ $case }) => $case);
    expect(said.indexOf("leaving")).toBeGreaterThan(0);
    expect(said.indexOf("leaving")).toBeLessThan(said.indexOf("ended"));
    expect(await fixture.worker.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  test("that cannot be loaded begins and fails nothing that comes later, which another worker may begin", async () => {
    fixture.scheduler.options = { acknowledgesEnds: false };
    const { bytes, digest } = createArchive(new Map([["main.mjs", { data: Buffer.from(BROKEN_MAIN) }]]));
    expect(await runArchive(bytes, digest)).toBe("SyntaxError: broken on purpose");
    fixture.scheduler.assign("e2", [1, 2]);
    fixture.scheduler.send({ $case: "acknowledge", value: { executionIds: ["e1"] } });
    expect(await fixture.worker.exited).toEqual({ code: null, signal: "SIGKILL" });
    expect(fixture.scheduler.of("ended").map(({ executionId }) => executionId)).toEqual(["e1"]);
  });

  test("that could not be prepared is fetched again when it is bound", async () => {
    const { bytes, digest } = createArchive(new Map([["main.mjs", { data: Buffer.from(`${EXAMPLE_MAIN}\n//`) }]]));
    fixture.scheduler.send({ $case: "prepare", value: { digest } });
    // Of the stream, and of the bundle that is not there.
    await vi.waitFor(() => expect(fixture.scheduler.authorizations).toHaveLength(2), WAIT);
    expect(await runArchive(bytes, digest)).toBeUndefined();
  });

  test("is fetched when it is prepared, and runs when it is bound", async () => {
    const main = EXAMPLE_MAIN + '\nconsole.log("loading");';
    const { bytes, digest } = createArchive(new Map([["main.mjs", { data: Buffer.from(main) }]]));
    fixture.scheduler.bundles.set(digest, bytes);
    fixture.scheduler.send({ $case: "prepare", value: { digest } });
    await vi.waitFor(async () => expect(await readdir(fixture.cacheDir)).toContain(digest), WAIT);
    fixture.scheduler.bundles.clear();
    fixture.scheduler.assign("e1", [1, 2]);
    fixture.scheduler.bind("add", digest);
    expect((await fixture.scheduler.outcome("e1")).value).toBe(3);
    expect(fixture.scheduler.authorizations).toHaveLength(2); // of the stream, and of one bundle
  });

  test("is refused where its digest is another", async () => {
    expect(await runArchive(EXAMPLE.bytes, "a".repeat(64))).toMatch(/^CodeIsUnavailableError: .*has the digest/);
    expect(fixture.scheduler.of("started")).toEqual([]);
  });

  test("is refused where it would be written outside of its folder", async () => {
    const slip = zipSync({ "../slip.mjs": Buffer.from("x"), "main.mjs": Buffer.from("") });
    const digest = createHash("sha256").update(slip).digest("hex");
    expect(await runArchive(slip, digest)).toMatch(/outside of the folder/);
    expect((await readdir(fixture.cacheDir)).filter((name) => name.startsWith("."))).toEqual([]);
    expect(await readdir(dirname(fixture.cacheDir))).not.toContain("slip.mjs");
  });

  test("is asked for again where its way is broken off", async () => {
    const fresh = createArchive(new Map([["main.mjs", { data: Buffer.from(`${EXAMPLE_MAIN}\n// broken off`) }]]));
    fixture.scheduler.bundlesToBreak = 2;
    expect(await runArchive(fresh.bytes, fresh.digest)).toBeUndefined();
    expect(fixture.scheduler.bundlesToBreak).toBe(0);
  });

  test("that the scheduler does not have fails what was assigned", async () => {
    fixture.scheduler.bind("add", "b".repeat(64));
    fixture.scheduler.assign("e1", [1, 2]);
    expect((await fixture.scheduler.outcome("e1")).error).toMatch(/^CodeIsUnavailableError: .*BundleDoesNotExist/);
  });

  test("fails what was assigned where it is no bundle", async () => {
    const source = { $case: "image", value: { image: "app" } } as const;
    fixture.scheduler.send({ $case: "bind", value: { function: { functionName: "add" }, code: { source } } });
    fixture.scheduler.assign("e1", [1, 2]);
    expect((await fixture.scheduler.outcome("e1")).error).toBe("CodeIsUnavailableError: the version has no bundle");
  });

  test.each([
    ["in a container", { GREETING: "hello", ...TRUST }, TRUST],
    [
      "in an image of the project's own, whose variables it sees",
      { GREETING: "hello", NODE_COMPILE_CACHE: "/dev/null/nowhere", HOSTNAME: "h", MULTINODE_KEEP_ENVIRONMENT: "true" },
      { GREETING: "hello" },
    ],
  ])("sees no variables of the worker's own %s", async (_, environment, seen) => {
    const folder = await mkdtemp(join(tmpdir(), "multinode-container-"));
    const configFile = join(folder, "config.json");
    const scheduler = new FakeScheduler();
    await scheduler.start();
    scheduler.bundles.set(EXAMPLE.digest, EXAMPLE.bytes);
    const config = { schedulerUrl: scheduler.url, bundleCacheDir: folder };
    const worker = await spawnInContainer(fixture.workerFile, config, { configFile }, environment);
    try {
      scheduler.bind("environment", EXAMPLE.digest);
      scheduler.assign("e1");
      const cwd = join(folder, EXAMPLE.digest);
      expect((await scheduler.outcome("e1")).value).toEqual({ env: seen, cwd, main: join(cwd, "main.mjs") });
      expect(await readdir(folder)).toEqual([EXAMPLE.digest]);
    } finally {
      worker.kill();
      await worker.exited;
      scheduler.stop();
      await rm(folder, { recursive: true });
    }
  });
});

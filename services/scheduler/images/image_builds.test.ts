import { createHash } from "node:crypto";
import { describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { createLogger } from "../../platform/log.js";
import { FakeImages } from "../runtime/fake_images.js";
import { ImageBuildError } from "../runtime/runtime.js";
import { ImageBuilds } from "./image_builds.js";

const WAIT = { timeout: 5_000, interval: 1 };
const never = new AbortController().signal;

function open(settings: { buildMs?: number; bytes?: Uint8Array } = {}) {
  const images = new FakeImages();
  const { bytes, ...more } = settings;
  const catalog = {
    downloadBundle: async function* ({ digest = "" }) {
      yield { chunk: bytes ?? Buffer.from(contexts.get(digest) ?? "") };
    },
  };
  const builds = new ImageBuilds({ images, catalog, log: createLogger("test", "silent"), ...more });
  const begun = (count: number) => vi.waitFor(() => expect(images.builds).toHaveLength(count), WAIT);
  return { images, builds, begun };
}

const contexts = new Map(
  Array.from({ length: 40 }, (_, index) => {
    const text = `context ${index}`;
    return [createHash("sha256").update(text).digest("hex"), text];
  }),
);
const [DIGEST = "", OTHER = "", THIRD = ""] = contexts.keys();

/** Reads to the end; answers what was told, and the name. */
async function read(following: AsyncGenerator<string, string>): Promise<{ text: string; name: string }> {
  let text = "";
  for (let next = await following.next(); ; next = await following.next()) {
    if (next.done === true) return { text, name: next.value };
    text += next.value;
  }
}

describe("a build", () => {
  it("is shared by all who want it, who hear it from its beginning", async () => {
    const { images, builds, begun } = open();
    const first = read(builds.follow(DIGEST, never));
    await begun(1);
    images.builds[0]?.print("one\n");
    const second = read(builds.follow(DIGEST, never));
    const quiet = builds.ensure(DIGEST, never);
    images.builds[0]?.print("two\n");
    images.builds[0]?.succeed();
    const name = `image of ${DIGEST}`;
    expect(await first).toEqual({ text: "one\ntwo\n", name });
    expect(await second).toEqual({ text: "one\ntwo\n", name });
    expect(await quiet).toBe(name);
    expect(await read(builds.follow(DIGEST, never))).toEqual({ text: "", name });
    expect(images.builds).toHaveLength(1);
  });

  it("ends when nobody waits for it any more, and begins anew", async () => {
    const { images, builds, begun } = open();
    const callers = [new AbortController(), new AbortController()];
    const calls = callers.map(({ signal }) => builds.ensure(DIGEST, signal).catch((error: unknown) => String(error)));
    await begun(1);
    callers[0]?.abort();
    await calls[0];
    expect(images.builds[0]?.stop.aborted).toBe(false);
    callers[1]?.abort();
    expect(await calls[1]).toMatch(/AbortError/);
    expect(images.builds[0]?.stop.aborted).toBe(true);
    const again = builds.ensure(DIGEST, never);
    await begun(2);
    images.builds[1]?.succeed();
    expect(await again).toBe(`image of ${DIGEST}`);
  });

  it("that fails is told to all, and is not remembered", async () => {
    const { images, builds, begun } = open();
    const calls = [builds.ensure(DIGEST, never), builds.ensure(DIGEST, never)];
    await begun(1);
    images.builds[0]?.fail(new ImageBuildError("status 1"));
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({
        reason: "ImageBuildFailed",
        message: "the image could not be built: status 1",
        details: { metadata: { contextDigest: DIGEST } },
      });
    }
    void builds.ensure(DIGEST, never).catch(() => {});
    await begun(2);
    builds.stop();
  });

  it("that meets an engine which does not answer may be tried again", async () => {
    const { images, builds } = open();
    images.outage = new Error("connect ENOENT");
    await expect(builds.ensure(DIGEST, never)).rejects.toMatchObject({ reason: "Unavailable" });
  });

  it("has a bound in time", async () => {
    const { images, builds, begun } = open({ buildMs: 20 });
    const call = builds.ensure(DIGEST, never);
    await expect(call).rejects.toMatchObject({
      reason: "ImageBuildFailed",
      message: "the image could not be built: it took longer than 0.02 s",
    });
    await begun(1);
    expect(images.builds[0]?.stop.aborted).toBe(true);
  });

  it("is told up to a bound, which is said", async () => {
    const { images, builds, begun } = open();
    const call = read(builds.follow(DIGEST, never));
    await begun(1);
    const half = "x".repeat(LIMITS.imageBuildOutputLength / 2);
    for (let part = 0; part < 5; part++) images.builds[0]?.print(half);
    images.builds[0]?.succeed();
    const { text } = await call;
    expect(text).toBe(`${half}${half}\n… what the build prints from here on is not shown\n`);
  });

  it("needs the very archive", async () => {
    const { images, builds } = open({ bytes: Buffer.from("another") });
    await expect(builds.ensure(DIGEST, never)).rejects.toMatchObject({ reason: "BundleIsInvalid" });
    expect(images.builds).toEqual([]);
  });
});

describe("builds", () => {
  it("run a few at a time, and the others wait and say so", async () => {
    const { images, builds, begun } = open();
    const calls = [DIGEST, OTHER, THIRD].map((digest) => read(builds.follow(digest, never)));
    await begun(LIMITS.imageBuildsAtOnce);
    images.builds[0]?.succeed();
    await calls[0];
    await begun(3);
    for (const build of images.builds) build.succeed();
    expect((await calls[2])?.text).toBe("waiting for other builds to end\n");
  });

  it("that wait give their place up when nobody wants them any more", async () => {
    const { images, builds, begun } = open();
    const leaving = new AbortController();
    const calls = [DIGEST, OTHER].map((digest) => builds.ensure(digest, never));
    await begun(2);
    const unwanted = builds.ensure(THIRD, leaving.signal).catch(() => "left");
    leaving.abort();
    expect(await unwanted).toBe("left");
    for (const build of images.builds) build.succeed();
    await Promise.all(calls);
    expect(images.builds).toHaveLength(2);
  });

  it("are refused when too many are wanted", async () => {
    const { builds } = open();
    const digests = [...contexts.keys()];
    const calls = digests.map((digest) => builds.ensure(digest, never).catch((error: unknown) => error));
    await expect(calls[LIMITS.imageBuildsWaiting]).resolves.toMatchObject({
      reason: "ResourceExhausted",
      details: { metadata: { limit: "imageBuildsWaiting" }, retryAfterMs: 30_000 },
    });
    builds.stop();
    await Promise.all(calls);
  });
});

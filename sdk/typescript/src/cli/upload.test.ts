import { expect, test } from "vitest";
import { createArchive } from "../bundle/archive.js";
import type { ProjectBundle } from "../bundle/bundle_project.js";
import { BundleDoesNotExist, ImageBuildFailed, ImagesAreNotSupported, ProjectDoesNotExist } from "../errors.js";
import { uploadVersion } from "./upload.js";

const archiveOf = (text: string) => createArchive(new Map([["main.mjs", { data: Buffer.from(text) }]]));
const CODE = archiveOf("code");
const CONTEXT = archiveOf("context");

/** A server that writes down what it is asked for. */
function open(build: { refusal?: Error; exists?: boolean } = {}) {
  const asked: string[] = [];
  const stored = new Set<string>();
  const nameOf = (digest: string) => (digest === CODE.digest ? "code" : "context");
  const client = {
    registry: {
      async getProject() {
        asked.push("project");
        if (build.exists !== true) throw new ProjectDoesNotExist("there is no such project");
        return { project: undefined };
      },
      async uploadBundle(requests: AsyncIterable<{ digest?: string }>) {
        for await (const { digest = "" } of requests) {
          if (digest === "") continue;
          stored.add(digest);
          asked.push(`upload ${nameOf(digest)}`);
        }
        return { sizeBytes: 1 };
      },
      async createVersion({ code }: { code: { contextDigest?: string } }) {
        asked.push(`version ${code.contextDigest === undefined ? "alone" : `with ${nameOf(code.contextDigest)}`}`);
        return { version: { versionId: "ver" } };
      },
    },
    scheduler: {
      async *buildImage({ contextDigest }: { contextDigest: string }) {
        asked.push("build");
        if (build.refusal !== undefined) throw build.refusal;
        if (!stored.has(contextDigest)) throw new BundleDoesNotExist("upload it first");
        yield { output: "one" };
        yield { output: "" };
        yield { output: " two\n" };
      },
    },
  } as unknown as Parameters<typeof uploadVersion>[0];
  const printed: string[] = [];
  const run = (context: ProjectBundle["context"], demand: "MUST_EXIST" | "CREATE_IF_MISSING" | "MUST_BE_NEW") =>
    uploadVersion(
      client,
      { mainName: "main.ts", archive: CODE, context, functions: [], carried: [], environment: {}, warnings: [] },
      {
        projectName: "p",
        demand,
        signal: new AbortController().signal,
        onBuildOutput: (text) => printed.push(text),
      },
    );
  return { asked, printed, run };
}

test("a bundle alone is uploaded, and nothing is built", async () => {
  const server = open();
  expect(await server.run(undefined, "MUST_BE_NEW")).toBe("ver");
  expect(server.asked).toEqual(["upload code", "version alone"]);
});

test("an image is built before the version is made, of a context that is sent when it is missing", async () => {
  const server = open();
  await server.run(CONTEXT, "MUST_BE_NEW");
  const sent = ["project", "build", "upload context", "build", "upload context", "upload code", "version with context"];
  expect(server.asked).toEqual(sent);
  expect(server.printed).toEqual(["one", " two\n"]);
});

test("nothing is sent to a server that builds no images, and no version is made after a build that failed", async () => {
  for (const refusal of [new ImagesAreNotSupported("no"), new ImageBuildFailed("status 1")]) {
    const server = open({ refusal });
    await expect(server.run(CONTEXT, "CREATE_IF_MISSING")).rejects.toBe(refusal);
    expect(server.asked).toEqual(["project", "build"]);
  }
});

test("nothing is built where the project is not as it must be", async () => {
  const taken = open({ exists: true });
  await expect(taken.run(CONTEXT, "MUST_BE_NEW")).rejects.toMatchObject({ reason: "ProjectAlreadyExists" });
  const missing = open();
  await expect(missing.run(CONTEXT, "MUST_EXIST")).rejects.toMatchObject({ reason: "ProjectDoesNotExist" });
  expect([taken.asked, missing.asked]).toEqual([["project"], ["project"]]);
});

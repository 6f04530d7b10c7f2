/** Projects with a Dockerfile, end to end: the command line, a server with the Docker runtime, builds on a real engine. */
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startEmbedded } from "../../services/embedded/embedded.js";
import { DockerRuntime } from "../../services/scheduler/runtime/docker.js";
import { runCommandLine } from "../harness/command_line.js";
import { type Files, type Target, writeProject } from "../harness/connected_target.js";
import { type TestEngine, WORKER_IMAGE } from "../harness/docker.js";
import { type DockerServer, startDockerServer } from "../harness/docker_server.js";

const BASE = "multinode/node:24";
const WAIT = { timeout: 20_000, interval: 50 };
const NEVER_MS = 3_600_000;

const MAIN = `
import { Multinode } from "multinode";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
export const mn = new Multinode();
const options = { cpu: 1, memory: "64 MiB", timeout: "60s" };
export const look = mn.function(options, async () => {
  let refusal = "";
  try { writeFileSync("/data/words.txt", "x"); } catch (error) { refusal = (error as NodeJS.ErrnoException).code ?? ""; }
  return {
    words: readFileSync("/data/words.txt", "utf8"),
    said: execFileSync("shout", ["hello"], { encoding: "utf8" }).trim(),
    greeting: process.env.GREETING,
    own: Object.keys(process.env).filter((name) => name.startsWith("MULTINODE") || name === "NODE_COMPILE_CACHE"),
    token: process.env.TOKEN,
    uid: process.getuid?.(),
    refusal,
  };
});
export const readsWords = mn.function(options, async () => readFileSync("/data/words.txt", "utf8"));
`;
const DOCKERFILE = `
ARG MULTINODE_WORKER_IMAGE=node:24-slim
FROM \${MULTINODE_WORKER_IMAGE}
USER root
ENV GREETING=from-the-image TOKEN=from-the-image
COPY words.txt /data/words.txt
COPY shout /usr/local/bin/shout
RUN echo built by $(cat /data/words.txt)
`;
const PROJECT: Files = {
  "main.ts": MAIN,
  Dockerfile: DOCKERFILE,
  ".env": "TOKEN=from-env",
  "words.txt": "first",
  shout: '#!/bin/sh\necho "$1!"\n',
};

let server: DockerServer;
let engine: TestEngine;
let target: Target;
const folders: string[] = [];

beforeAll(async () => {
  server = await startDockerServer(1, { buildNetwork: "none", imageGraceMs: 0 });
  ({ engine, target } = server);
}, 120_000);

afterAll(async () => {
  await server.stop();
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
}, 60_000);

async function folderOf(files: Files): Promise<string> {
  const folder = await writeProject(files);
  await chmod(join(folder, "shout"), 0o755);
  folders.push(folder);
  return folder;
}

const multinode = (...argv: string[]) =>
  runCommandLine(argv, {
    MULTINODE_API_URL: target.apiUrl,
    MULTINODE_API_KEY: target.apiKey,
    MULTINODE_HOME: server.dataDir,
  });

const deploy = (folder: string, projectName: string, ...more: string[]) =>
  multinode("upgrade", folder, "--deploy", "--project-name", projectName, ...more);

/** Names of the images of projects. */
async function images(): Promise<string[]> {
  const all = await engine.docker.listImages();
  return all.flatMap(({ RepoTags }) => RepoTags ?? []).filter((name) => name.startsWith("multinode-project-"));
}

describe("a project with a Dockerfile", () => {
  it("is built with its output shown, and its functions find there what it put there", async () => {
    const name = target.newProjectName();
    const folder = await folderOf(PROJECT);
    const { stdout, stderr, exitStatus } = await deploy(folder, name);
    expect({ stderr, exitStatus }).toEqual({ stderr: "", exitStatus: 0 });
    expect(stdout).toMatch(/Building the image\nStep 1\/7 : ARG[^]*built by first\n[^]*is now at version/);
    expect(await target.fn(name, "look").callRemote()).toEqual({
      words: "first",
      said: "hello!",
      greeting: "from-the-image",
      own: [],
      token: "from-env",
      uid: 65_534,
      refusal: "EROFS",
    });

    const again = await deploy(folder, name, "--json");
    expect(again).toMatchObject({ exitStatus: 0, stderr: "" }); // nothing has changed, so nothing is built
    const described = await multinode("describe", "--project-name", name, "--version-id", "latest");
    expect(described.stdout).toMatch(/image +of the context [0-9a-f]{64}/);
    expect((await multinode("undeploy", "--project-name", name)).exitStatus).toBe(0);
  });

  it("runs each version in its own image, which goes with the project", async () => {
    const name = target.newProjectName();
    expect(await deploy(await folderOf(PROJECT), name)).toMatchObject({ stderr: "", exitStatus: 0 });
    const first = (await target.client.registry.getVersion({ projectName: name })).version?.versionId;
    const changed = await deploy(await folderOf({ ...PROJECT, "words.txt": "second" }), name, "--json");
    expect(changed.exitStatus).toBe(0);
    const printed = changed.stderr.trim().split("\n");
    expect(printed.map((line) => Reflect.get(JSON.parse(line) as object, "buildOutput") as string)).toContain(
      "built by second",
    );
    const { image } = JSON.parse(changed.stdout) as { image: { contextDigest: string } };
    expect((await images()).some((other) => other.includes(image.contextDigest))).toBe(true);
    expect(await target.fn(name, "readsWords").callRemote()).toBe("second");
    expect(await target.fn(name, "readsWords", first).callRemote()).toBe("first");
    expect((await multinode("undeploy", "--project-name", name)).exitStatus).toBe(0);
    await vi.waitFor(async () => expect(await images()).toEqual([]), WAIT);
  });

  it("whose build fails is refused with what went wrong, and the old version stays", async () => {
    const name = target.newProjectName();
    expect(await deploy(await folderOf(PROJECT), name)).toMatchObject({ stderr: "", exitStatus: 0 });
    const broken = { ...PROJECT, Dockerfile: `${DOCKERFILE}RUN echo about to fail && cat /nowhere\n` };
    const failed = await deploy(await folderOf(broken), name, "--json");
    expect(failed).toMatchObject({ exitStatus: 1, stdout: "" });
    const lines = failed.stderr.trim().split("\n");
    expect(lines).toContain('{"buildOutput":"about to fail"}');
    expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({
      error: {
        reason: "ImageBuildFailed",
        message: expect.stringMatching(
          /^the image could not be built: The command '.*cat \/nowhere' returned a non-zero/,
        ),
      },
    });
    expect((await target.client.registry.listVersions({ projectName: name })).versions).toHaveLength(1);
    expect(await target.fn(name, "readsWords").callRemote()).toBe("first");
    await multinode("undeploy", "--project-name", name);
  });

  it.each([
    ["no command that there is", `FROM ${BASE}\nNONSENSE here`, /unknown instruction: NONSENSE/],
    ["a base that there is not", "FROM multinode/nothing:1", /the image could not be built: .*registry/],
    ["no Node", "FROM scratch\nCOPY words.txt /", /workers cannot run in it: it needs Node 22\.13 or newer/],
    ["a volume", `FROM ${BASE}\nVOLUME /data`, /it has VOLUME \/data, and workers have no volumes/],
  ])("is refused with %s", async (_, Dockerfile, message) => {
    const name = target.newProjectName();
    const { exitStatus, stderr } = await deploy(await folderOf({ ...PROJECT, Dockerfile }), name);
    expect(stderr).toMatch(message);
    expect(exitStatus).toBe(1);
    await expect(target.client.registry.getProject({ projectName: name })).rejects.toThrow("does not exist");
  });

  it("is refused by a server that runs processes, which says what to do, and sends nothing", async () => {
    const folder = await mkdtemp(join(tmpdir(), "multinode-docker-processes-"));
    folders.push(folder);
    const processes = await startEmbedded({ dataDir: folder, host: "127.0.0.1", port: 0 });
    try {
      const apiKey = (await readFile(processes.apiKeyFile, "utf8")).trim();
      const env = { MULTINODE_API_URL: processes.url, MULTINODE_API_KEY: apiKey, MULTINODE_HOME: folder };
      const refused = await runCommandLine(["deploy", await folderOf(PROJECT), "--project-name", "p", "--json"], env);
      expect(refused).toMatchObject({ exitStatus: 1, stdout: "" });
      expect(JSON.parse(refused.stderr)).toMatchObject({
        error: {
          reason: "ImagesAreNotSupported",
          message: expect.stringContaining("has a Dockerfile, and this server builds no images"),
          hint: expect.stringContaining("Deploy to a cluster"),
        },
      });
      expect(await readdir(join(folder, "bundles"))).toEqual([]);
    } finally {
      await processes.stop();
    }
  });

  it("is not built for a name that is taken", async () => {
    const name = target.newProjectName();
    await target.client.registry.createProject({ projectName: name });
    const { exitStatus, stderr, stdout } = await multinode("deploy", await folderOf(PROJECT), "--project-name", name);
    expect({ exitStatus, stdout }).toMatchObject({ exitStatus: 1, stdout: expect.not.stringContaining("Building") });
    expect(stderr).toContain("There is a project");
  });

  it("gets an image again that was taken from the engine, or was built on another one", async () => {
    const name = target.newProjectName();
    expect(await deploy(await folderOf(PROJECT), name)).toMatchObject({ stderr: "", exitStatus: 0 });
    expect(await target.fn(name, "readsWords").callRemote()).toBe("first");
    await vi.waitFor(async () => {
      for (const image of await images()) await engine.docker.getImage(image).remove();
      expect(await images()).toEqual([]);
    }, WAIT);
    expect(await target.fn(name, "readsWords").callRemote()).toBe("first");
    await multinode("undeploy", "--project-name", name);
  });

  it("is built no longer when its deployer leaves", async () => {
    const name = target.newProjectName();
    const Dockerfile = `${DOCKERFILE}RUN echo $(cat /proc/sys/kernel/random/uuid) && sleep 600\n`;
    const folder = await folderOf({ ...PROJECT, Dockerfile });
    const leaving = new AbortController();
    const env = { MULTINODE_API_URL: target.apiUrl, MULTINODE_API_KEY: target.apiKey, MULTINODE_HOME: server.dataDir };
    const deploying = runCommandLine(["deploy", folder, "--project-name", name], env, leaving.signal);
    const running = () => engine.docker.listContainers();
    const builds = async () => (await running()).filter(({ Command }) => Command.includes("sleep 600"));
    await vi.waitFor(async () => expect(await builds()).toHaveLength(1), WAIT);
    leaving.abort();
    expect((await deploying).exitStatus).toBe(130);
    await vi.waitFor(async () => expect(await builds()).toEqual([]), WAIT);
  });
});

describe("images of projects", () => {
  it("are kept for a while after they were asked for, and while they are used", async () => {
    const keeping = new DockerRuntime({ ...server.settings, schedulerId: "sch-2", imageGraceMs: NEVER_MS });
    const quick = new DockerRuntime({ ...server.settings, schedulerId: "sch-3", imageGraceMs: 0 });
    const stop = new AbortController().signal;
    try {
      const contextDigest = "c".repeat(64);
      const { Id } = await engine.docker.getImage(WORKER_IMAGE).inspect();
      const tag = `${contextDigest}-${Id.replace("sha256:", "").slice(0, 12)}`;
      await engine.docker
        .getImage(WORKER_IMAGE)
        .tag({ repo: `multinode-project-${server.settings.installationId}`, tag });
      await keeping.images?.removeUnused(async () => new Set(), stop);
      expect(await keeping.images?.find(contextDigest, stop)).toContain(contextDigest);
      await quick.images?.removeUnused(async (digests) => new Set(digests), stop);
      expect(await keeping.images?.find(contextDigest, stop)).toContain(contextDigest);
      await quick.images?.removeUnused(async () => new Set(), stop);
      expect(await keeping.images?.find(contextDigest, stop)).toBeUndefined();
    } finally {
      await Promise.all([keeping.close(), quick.close()]);
    }
  });
});

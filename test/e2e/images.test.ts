/** Projects with a Dockerfile: refused where workers are processes; docker/images.test.ts has more of those that are built. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { CLI_ENVIRONMENT } from "../harness/cli_program.js";
import { runCommandLine } from "../harness/command_line.js";
import { writeProject } from "../harness/connected_target.js";
import { openTarget, type Target } from "../harness/target.js";

const FILES = {
  "main.ts": `
    import { readFileSync } from "node:fs";
    import { Multinode } from "multinode";
    export const mn = new Multinode();
    export const read = mn.function({ timeout: "30s" }, async () => readFileSync("/data/words.txt", "utf8"));
  `,
  Dockerfile: `
    ARG MULTINODE_WORKER_IMAGE=node:24-slim
    FROM \${MULTINODE_WORKER_IMAGE}
    COPY words.txt /data/words.txt
  `,
  "words.txt": "from the image",
};
const runsContainers = inject("dockerSocket") !== undefined;

let target: Target;
const folders: string[] = [];
beforeAll(async () => {
  target = openTarget();
  folders.push(await writeProject(FILES), await mkdtemp(join(tmpdir(), "multinode-home-")));
});
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
  await target.close();
});

test("a Dockerfile is built where workers are containers, and refused with what to do where they are processes", async () => {
  const [folder = "", home = ""] = folders;
  const name = target.newProjectName();
  const login = { MULTINODE_API_URL: inject("targetApiUrl"), MULTINODE_API_KEY: inject("targetApiKey") };
  const env = { ...CLI_ENVIRONMENT, ...login, MULTINODE_HOME: home };
  const deployed = await runCommandLine(["deploy", folder, "--project-name", name], env);
  if (runsContainers) {
    expect(deployed).toMatchObject({ exitStatus: 0, stdout: expect.stringContaining("COPY words.txt") });
    expect(await target.fn(name, "read").callRemote()).toBe("from the image");
    return;
  }
  expect(deployed.exitStatus).toBe(1);
  expect(deployed.stderr).toMatch(/has a Dockerfile, and this server builds no images\.\nnext +Deploy to a cluster/);
  await expect(target.client.registry.getProject({ projectName: name })).rejects.toThrow("does not exist");
});

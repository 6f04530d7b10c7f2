import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CLI_PROGRAM } from "../../harness/cli_program.js";
import { connectTarget } from "../../harness/connected_target.js";
import { RestartableServer } from "../server.js";

let folder: string;
let server: RestartableServer;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-faults-"));
  server = new RestartableServer(join(folder, "data"));
});
afterEach(async () => {
  await server.kill();
  await rm(folder, { recursive: true, force: true });
});

/** `multinode up` on the same folder, to its end. */
function secondServer(): Promise<{ exitCode: number | string | null | undefined; stdout: string; stderr: string }> {
  const args = [CLI_PROGRAM, "up", "--port", "0", "--data-dir", server.dataDir, "--json"];
  const options = { env: { ...process.env, MULTINODE_HOME: join(folder, "home") }, timeout: 20_000 };
  return new Promise((resolve) => {
    execFile(process.execPath, args, options, (error, stdout, stderr) =>
      resolve({ exitCode: error === null ? 0 : error.code, stdout, stderr }),
    );
  });
}

test("a second server on a data folder refuses, says who holds it, and leaves the first one alone", async () => {
  const address = await server.start();
  const { exitCode, stdout, stderr } = await secondServer();
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
  expect(stderr).toContain(`${server.dataDir} is in use by another server (process ${server.pid} since `);

  await using target = connectTarget(address);
  const project = await target.deploy({ "main.ts": DOUBLE });
  expect(await project.fn<(n: number) => number>("double").callRemote(21)).toBe(42);
});

test("a folder whose server was killed is free at once", async () => {
  await server.start();
  await server.kill();
  await server.start();
  expect(await secondServer()).toMatchObject({ exitCode: 1 });
});

test("a first start that is killed at whatever moment is no obstacle to the next one", async () => {
  for (const afterMs of [30, 80, 120, 160, 200, 250, 300, 350]) await server.startAndKill(afterMs);
  await using target = connectTarget(await server.start());
  expect(await target.client.registry.listProjects({})).toMatchObject({ projects: [] });
});

const DOUBLE = `import { Multinode } from "multinode";
export const mn = new Multinode();
export const double = mn.function((n: number) => n * 2);
`;

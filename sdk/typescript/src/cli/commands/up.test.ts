import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EmbeddedOptions } from "../../../../../services/embedded/embedded.js";
import { holdDataFolder } from "../../../../../services/platform/store/data_folder.js";
import { writeLoginFile } from "../../client/credentials.js";
import { runCommand } from "../testing/test_io.js";
import type { StartServer } from "./up.js";

const URL = "http://127.0.0.1:7411";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "multinode-test-"));
});
afterEach(() => rm(home, { recursive: true }));

/** Runs `up` with a server that is interrupted as soon as it is up. */
async function up(
  argv: readonly string[],
  options: { isTerminal?: boolean; failure?: Error; env?: Readonly<Record<string, string>> } = {},
) {
  const interrupted = new AbortController();
  const given: EmbeddedOptions[] = [];
  let stops = 0;
  const startServer: StartServer = async (serverOptions) => {
    given.push(serverOptions);
    if (options.failure !== undefined) throw options.failure;
    const apiKeyFile = join(home, "api_key");
    await writeFile(apiKeyFile, "secret\n");
    setTimeout(() => {
      serverOptions.onActivity?.("shop deployed");
      interrupted.abort();
    }, 100);
    const closed = new Promise<void>(() => {});
    return { url: URL, apiKeyFile, firstStart: true, closed, stop: async () => void (stops += 1) };
  };
  const { isTerminal = false } = options;
  const env = { MULTINODE_HOME: home, ...options.env };
  const outcome = await runCommand(["up", ...argv], { env, isTerminal, signal: interrupted.signal, startServer });
  return { ...outcome, given, stops };
}

const loginFile = async () => JSON.parse(await readFile(join(home, "credentials.json"), "utf8"));

test("it listens where it is told to, logs in, and stops cleanly at Ctrl-C", async () => {
  const { exitStatus, stdout, given, stops } = await up(["--port", "0", "--host", "0.0.0.0", "--max-workers", "3"]);
  expect({ exitStatus, stops }).toEqual({ exitStatus: 0, stops: 1 });
  expect(given).toEqual([
    { dataDir: join(home, "server"), host: "0.0.0.0", port: 0, maxWorkers: 3, maxPayloadBytes: 250_000 },
  ]);
  expect(stdout).toContain(`Multinode is up at ${URL}`);
  expect(stdout).toContain("you are logged in to it");
  expect(stdout).not.toContain("secret");
  expect(await loginFile()).toEqual({ apiUrl: URL, apiKey: "secret" });
});

test.each([
  [{ MULTINODE_API_URL: "https://elsewhere.example" }, "MULTINODE_API_URL is for another server"],
  [{ MULTINODE_API_KEY: "other" }, "MULTINODE_API_KEY is for another server"],
  [{ MULTINODE_API_URL: URL, MULTINODE_API_KEY: "secret" }, "you are logged in to it"],
])("the environment %j goes before the login", async (env, login) => {
  const { stdout } = await up([], { env });
  expect(stdout).toContain(login);
  const { stdout: json } = await up(["--json"], { env });
  expect(JSON.parse(json)).toMatchObject({ loggedIn: login.startsWith("you") });
});

test("it keeps invocations for as many days as it is told, from 2 to 3650", async () => {
  const { given } = await up(["--retention-days", "30"]);
  expect(given).toMatchObject([{ retentionDays: 30 }]);
  const { exitStatus, stderr } = await up(["--retention-days", "1"]);
  expect(exitStatus).not.toBe(0);
  expect(stderr).toContain("It must be a whole number from 2 to 3650.");
});

test("it says who is logged in at every start", async () => {
  await up([]);
  const { stdout } = await up([]);
  expect(stdout).toMatch(/login +you are logged in to it \(.*credentials\.json\)\n/);
  expect(stdout).not.toContain("another server");
});

test("an address that other machines reach is asked for with --insecure", async () => {
  const { given } = await up(["--host", "0.0.0.0", "--insecure"]);
  expect(given).toMatchObject([{ host: "0.0.0.0", insecure: true }]);
});

test("a login elsewhere is left alone, and an old one here is renewed", async () => {
  const env = { MULTINODE_HOME: home };
  await writeLoginFile({ apiUrl: "https://elsewhere.example", apiKey: "other" }, env);
  const { stdout } = await up([]);
  expect(stdout).toContain("is for another server");
  expect(stdout).toContain(`export MULTINODE_API_URL=${URL}`);
  expect(await loginFile()).toMatchObject({ apiKey: "other" });

  await writeLoginFile({ apiUrl: URL, apiKey: "old" }, env);
  await up([]);
  expect(await loginFile()).toEqual({ apiUrl: URL, apiKey: "secret" });
});

test("activity is shown on a terminal only", async () => {
  expect((await up([], { isTerminal: true })).stdout).toContain("shop deployed");
  expect((await up([])).stdout).not.toContain("shop deployed");
});

test("--json writes one line", async () => {
  const { stdout, stderr } = await up(["--json"], { isTerminal: true });
  expect(JSON.parse(stdout)).toMatchObject({ url: URL, firstStart: true, loggedIn: true });
  expect(stderr).toBe("");
});

test("a port that is taken is explained", async () => {
  const failure = Object.assign(new Error("listen EADDRINUSE"), { code: "EADDRINUSE" });
  expect(await up([], { failure })).toMatchObject({
    exitStatus: 1,
    stops: 0,
    stderr: expect.stringMatching(/already listens on port 7411[\s\S]*--port 7412/),
  });
});

test("a data folder that is a file is explained", async () => {
  const isFile = Object.assign(new Error("mkdir"), { code: "EEXIST" });
  expect(await up([], { failure: isFile })).toMatchObject({
    exitStatus: 1,
    stderr: expect.stringMatching(/is no folder[\s\S]*--data-dir FOLDER/),
  });
});

test("a data folder that another server uses has a reason of its own", async () => {
  const held = holdDataFolder(join(home, "server"), "process 17");
  const failure = (() => {
    try {
      return void holdDataFolder(held.path, "process 18");
    } catch (error) {
      return error as Error;
    } finally {
      held.release();
    }
  })();
  const { exitStatus, stderr } = await up(["--port", "0", "--json"], {
    failure: failure ?? new Error("it was not held"),
  });
  expect(exitStatus).toBe(1);
  expect(JSON.parse(stderr)).toMatchObject({
    error: { reason: "DataFolderIsInUse", message: expect.stringContaining("process 17") },
  });
});

// `npm run quickstart`: on a fresh clone installs, builds, starts the embedded server, deploys the example and runs it; then stops
// everything it started and leaves nothing behind.
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { onInterrupt, projectEnvironment, ROOT, run, runScript, seconds } from "./toolchain.mjs";

const CLI = "sdk/typescript/dist/cli.js";
const TASKS = "examples/tsp/tasks";
const APPLICATION = "examples/tsp/application/main.ts";
const PROJECT = "tsp";

const START_BOUND_MS = 20_000;
const STOP_BOUND_MS = 10_000;
const OUTPUT_TAIL_LINES = 40;

await runScript(import.meta.url, async () => {
  const startedAt = performance.now();
  await step("Building", "node", ["scripts/build.mjs"]);
  const home = mkdtempSync(join(tmpdir(), "multinode-quickstart-"));
  try {
    const server = await startServer(home);
    try {
      const access = await server.ready();
      await step("Deploying the example", "node", [CLI, "deploy", TASKS, "--project-name", PROJECT], access);
      await step("Running the application", "node", [APPLICATION], access);
    } catch (error) {
      console.error(`\nThe last lines of the server's output:\n${server.outputTail()}\n`);
      throw error;
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
  console.log(`\nDone in ${seconds(performance.now() - startedAt)}; everything is stopped. Next: npm run dev`);
  return 0;
});

async function step(title, command, args, env = {}) {
  console.log(`\n${title}: ${command} ${args.join(" ")}`);
  const { ok, detail } = await run(command, args, { boundMs: 120_000, env });
  if (!ok) throw new Error(`Quickstart failed at "${title}" (${detail}).`);
}

/** `home` takes the server's data, its output and the login, so that nothing of the user's own is touched. */
async function startServer(home) {
  const output = join(home, "server.log");
  const port = await freePort();
  console.log(`\nStarting the server: ${CLI} up --port ${port}`);
  const log = openSync(output, "w");
  const child = spawn("node", [CLI, "up", "--port", String(port), "--data-dir", join(home, "server")], {
    cwd: ROOT,
    stdio: ["ignore", log, log],
    env: projectEnvironment({ MULTINODE_HOME: home, MULTINODE_API_URL: undefined, MULTINODE_API_KEY: undefined }),
  });
  closeSync(log);
  const ended = new Promise((done) => {
    child.once("error", done);
    child.once("exit", (code, signal) => done(`exit ${code ?? signal}`));
  });
  const isRunning = () => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const stopListening = onInterrupt(() => child.kill("SIGTERM"));
  return {
    outputTail: () => readFileSync(output, "utf8").trimEnd().split("\n").slice(-OUTPUT_TAIL_LINES).join("\n"),
    ready: () => waitForLogin(join(home, "credentials.json"), isRunning),
    stop: async () => {
      child.kill("SIGTERM");
      const stopped = await Promise.race([ended, delay(STOP_BOUND_MS, undefined, { ref: false })]);
      if (stopped === undefined) {
        child.kill("SIGKILL");
        await ended;
        console.error(`The server did not stop within ${seconds(STOP_BOUND_MS)} and was killed.`);
      }
      stopListening();
    },
  };
}

/** Once it serves, a server's first start logs its user in; the login is what the commands and the application need. */
async function waitForLogin(file, isRunning) {
  const deadline = performance.now() + START_BOUND_MS;
  while (performance.now() < deadline) {
    if (!isRunning()) throw new Error('Quickstart failed at "Starting the server": it ended.');
    const login = readLogin(file);
    if (login) return { MULTINODE_API_URL: login.apiUrl, MULTINODE_API_KEY: login.apiKey };
    await delay(50);
  }
  throw new Error(`Quickstart failed at "Starting the server": not ready within ${seconds(START_BOUND_MS)}.`);
}

/** Undefined while the file is not there or not whole. */
function readLogin(file) {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

function freePort() {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.once("error", fail);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

// What every script of this repository stands on: where the repository is, Node 24 (the project brings its own as a devDependency),
// and running a command as a process group of its own. Runs on Node 20, which may be all that a new machine has.
import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { installIfNeeded } from "./install.mjs";

export const ROOT = fileURLToPath(new URL("..", import.meta.url)).replace(/[\\/]$/, "");
const BIN = join(ROOT, "node_modules", ".bin");
const NODE = join(BIN, "node");

/** The environment in which `node`, `tsc`, `buf`, `vitest` mean the project's own. */
export function projectEnvironment(extra = {}) {
  return { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH ?? ""}`, ...extra };
}

/**
 * Installs the dependencies if need be, then runs `main(args)` under the project's Node: here if this is it, else by starting the
 * script again. The process ends with the exit code that `main` resolves to.
 */
export async function runScript(scriptUrl, main) {
  try {
    await installIfNeeded(ROOT, NODE);
    const args = process.argv.slice(2);
    process.exitCode = isProjectNode() ? await main(args) : await restart(fileURLToPath(scriptUrl), args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

function isProjectNode() {
  return realpathSync(process.execPath) === realpathSync(NODE);
}

/** Ctrl-C reaches the child by itself, as part of the terminal's foreground group; the other signals are handed on. */
function restart(script, args) {
  return new Promise((done, fail) => {
    const child = spawn(NODE, [script, ...args], { stdio: "inherit", env: projectEnvironment() });
    process.on("SIGINT", () => {});
    process.on("SIGTERM", () => child.kill("SIGTERM"));
    child.once("error", fail);
    child.once("exit", (code) => done(code ?? 1));
  });
}

/** Time for a command to end its own children after SIGTERM, before SIGKILL. */
const STOP_BOUND_MS = 5_000;
/** How long what a command left behind may hold its output open. */
const DRAIN_BOUND_MS = 1_000;

/** Of what a command said on stderr. */
const LAST_LINES = 30;

/**
 * Runs one command with its output shown here (`isQuiet`: only if it fails; `prefix`: before each line), as a process group of
 * its own. When `boundMs` is over or this process is interrupted the group is stopped; whatever is left of it when the command
 * ends is killed. Resolves to `{ ok, detail, ms, lastErrors }`, the last being the end of its stderr where `keepErrors` is set;
 * rejects only if this process was interrupted, so that the script unwinds.
 */
export function run(command, args, options = {}) {
  const { boundMs = 300_000, env = {}, isQuiet = false, keepErrors = false, prefix = "" } = options;
  const startedAt = performance.now();
  return new Promise((done, fail) => {
    const shown = isQuiet || prefix !== "" ? "pipe" : "inherit";
    const spawned = {
      cwd: ROOT,
      stdio: ["ignore", shown, keepErrors ? "pipe" : shown],
      env: projectEnvironment(env),
      detached: true,
    };
    const child = spawn(command, args, spawned);
    const kept = [];
    const lastErrors = [];
    for (const stream of [child.stdout, child.stderr]) {
      if (isQuiet) stream.on("data", (data) => kept.push(data));
      else if (stream !== null)
        createInterface(stream).on("line", (line) => {
          console.log(prefix + line);
          if (stream === child.stderr && lastErrors.push(line) > LAST_LINES) lastErrors.shift();
        });
    }
    const timers = [];
    let stopped;
    const stop = (reason) => {
      stopped ??= reason;
      killGroup(child.pid, "SIGTERM");
      timers.push(setTimeout(() => killGroup(child.pid, "SIGKILL"), STOP_BOUND_MS));
    };
    timers.push(setTimeout(() => stop(`stopped after ${seconds(boundMs)}`), boundMs));
    const stopListening = onInterrupt(() => stop("interrupted"));
    let isOver = false;
    const end = (ok, detail) => {
      if (isOver) return;
      isOver = true;
      // What a process left behind might still say comes too late, and must not keep this one.
      for (const stream of [child.stdout, child.stderr]) stream?.destroy();
      for (const timer of timers) clearTimeout(timer);
      stopListening();
      killGroup(child.pid, "SIGKILL");
      if (!ok) process.stderr.write(Buffer.concat(kept));
      if (stopped === "interrupted") fail(new Error("Interrupted."));
      else done({ ok, detail, ms: performance.now() - startedAt, lastErrors });
    };
    child.once("error", (error) => end(false, `could not start ${command}: ${error.message}`));
    child.once("exit", (code, signal) => {
      const conclude = () => end(code === 0 && !stopped, stopped ?? (code === 0 ? "" : `exit ${code ?? signal}`));
      if (shown === "inherit" && !keepErrors) return conclude();
      // All of the output is there at "close".
      timers.push(setTimeout(conclude, DRAIN_BOUND_MS));
      child.once("close", conclude);
    });
  });
}

/** Calls back on Ctrl-C and on SIGTERM; returns the function that ends this. */
export function onInterrupt(callback) {
  process.on("SIGINT", callback);
  process.on("SIGTERM", callback);
  return () => {
    process.off("SIGINT", callback);
    process.off("SIGTERM", callback);
  };
}

/** Signals a process group that was started detached; one that is gone already is fine. */
export function killGroup(pid, signal) {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** 1234 → "1.2 s" */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

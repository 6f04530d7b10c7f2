import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { testRuntime, WAIT } from "../../../test/contract/runtime.contract.js";
import { isAlive } from "../../../test/harness/process_status.js";
import { createLogger } from "../../platform/log.js";
import { ProcessRuntime } from "./process.js";
import { leaderOf } from "./process_group.js";
import type { WorkerBoot, WorkerExit } from "./runtime.js";

/** Reads its boot from the lifeline, writes it beside itself, and does what its token says. */
const PROGRAM = `
import { spawn } from "node:child_process";
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
let text = "";
new Socket({ fd: 3 }).on("data", (chunk) => {
  text += chunk;
  if (!text.includes("\\n")) return;
  const boot = JSON.parse(text);
  const file = join(import.meta.dirname, boot.workerId);
  if (boot.workerToken === "prints") process.stdout.write("one\\ntwo"), process.stderr.write("three\\n");
  if (boot.workerToken === "ends no line") process.stdout.write("x".repeat(100_000));
  if (boot.workerToken === "runs out of memory") process.stderr.write("FATAL ERROR: JavaScript heap out of memory\\n");
  if (boot.workerToken === "runs out of memory") process.exitCode = 134, process.abort();
  let child;
  if (boot.workerToken === "has a child") child = spawn("sleep", ["600"], { stdio: "inherit" }).pid;
  writeFileSync(file + ".part", JSON.stringify({ ...boot, child, pid: process.pid, env: process.env }));
  renameSync(file + ".part", file);
  setInterval(() => existsSync(file + ".end") && process.exit(3), 5);
});
`;

type Said = WorkerBoot & { child?: number; pid: number; env: Record<string, string>; bundleCacheDir: string };

let folder: string;

async function openRuntime() {
  folder = await mkdtemp(join(tmpdir(), "multinode-process-"));
  const workerProgram = join(folder, "worker.mjs");
  await writeFile(workerProgram, PROGRAM);
  const settings = { folder: join(folder, "data"), workerProgram, log: createLogger("test", "silent") };
  const runtime = new ProcessRuntime(settings);
  return {
    settings,
    runtime,
    boot: (workerId: string): Promise<Said> =>
      vi.waitFor(() => JSON.parse(readFileSync(join(folder, workerId), "utf8")) as Said, WAIT),
    end: (workerId: string) => void writeFile(join(folder, `${workerId}.end`), ""),
    failStart: () => vi.spyOn(process, "execPath", "get").mockReturnValue(join(folder, "no-such-program")),
    remove: async () => {
      vi.restoreAllMocks();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

describe("the process runtime", () => {
  testRuntime(openRuntime);
});

describe("a worker process", () => {
  let test: Awaited<ReturnType<typeof openRuntime>>;
  let exits: WorkerExit[];

  beforeEach(async () => {
    test = await openRuntime();
    exits = [];
    test.runtime.onExit((exit) => exits.push(exit));
  });
  afterEach(async () => {
    await test.runtime.close();
    await test.remove();
  });

  const start = async (workerToken: string, runtime = test.runtime) => {
    const boot = { schedulerUrl: "http://127.0.0.1:1", workerId: "wrk-1", workerToken };
    return await runtime.start({ workerId: "wrk-1", boot });
  };
  const isGone = (pid: number) => vi.waitFor(() => expect(isAlive(pid)).toBe(false), WAIT);

  it("is ended with all that it started (R2)", async () => {
    await start("has a child");
    const { child = 0, pid } = await test.boot("wrk-1");
    expect(isAlive(child)).toBe(true);
    await test.runtime.stop("wrk-1");
    expect([child, pid].filter(isAlive)).toEqual([]);
  });

  it("that ends by itself takes along what it started, which may hold its output", async () => {
    await start("has a child");
    const { child = 0 } = await test.boot("wrk-1");
    test.end("wrk-1");
    await vi.waitFor(
      () => expect(exits).toEqual([{ workerId: "wrk-1", description: "exited with code 3", outOfMemory: false }]),
      WAIT,
    );
    expect(isAlive(child)).toBe(false);
  });

  it("has no secret where others could see it", async () => {
    vi.stubEnv("MULTINODE_API_KEY", "a secret of the server");
    await start("secret-token");
    const { env, pid, bundleCacheDir } = await test.boot("wrk-1");
    vi.unstubAllEnvs();
    expect(JSON.stringify(env)).not.toMatch(/secret/);
    if (existsSync("/proc")) expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).not.toMatch(/secret/);
    expect(existsSync(bundleCacheDir)).toBe(true);
  });

  it("knows which authorities its server trusts", async () => {
    const trust = {
      NODE_EXTRA_CA_CERTS: "/nowhere/extra.pem",
      SSL_CERT_FILE: "/nowhere/all.pem",
      SSL_CERT_DIR: "/nowhere",
    };
    for (const [name, value] of Object.entries(trust)) vi.stubEnv(name, value);
    const runtime = new ProcessRuntime(test.settings);
    vi.unstubAllEnvs();
    await start("any", runtime);
    expect((await test.boot("wrk-1")).env).toMatchObject(trust);
    await runtime.close();
  });

  it("keeps code for others where only its server can put any, and finds none of an earlier server's (X3)", async () => {
    vi.stubEnv("NODE_COMPILE_CACHE", "/tmp/of-anybody");
    await start("any");
    const { env, bundleCacheDir } = await test.boot("wrk-1");
    vi.unstubAllEnvs();
    const kept = [bundleCacheDir, env["NODE_COMPILE_CACHE"] ?? ""];
    expect(kept).toEqual(["unpacked", "compiled"].map((name) => join(test.settings.folder, name)));
    for (const path of kept) {
      expect(statSync(path).mode & 0o777).toBe(0o700);
      for (const name of ["of-before", ".old-of-before", ".old-of-before-that"]) {
        await mkdir(join(path, name));
        await writeFile(join(path, name, "code"), "old");
      }
    }
    await test.runtime.close();
    const next = new ProcessRuntime(test.settings);
    for (const path of kept) expect(existsSync(join(path, "of-before"))).toBe(false);
    await vi.waitFor(() => expect(kept.flatMap((path) => readdirSync(path))).toEqual([]), WAIT);
    await next.close();
  });

  it("finds its bundle for as long as it lives, and others go that nobody uses (X3)", async () => {
    await test.runtime.close();
    const runtime = new ProcessRuntime({ ...test.settings, keepUnusedCodeMs: 50, codeLookIntervalMs: 5 });
    await start("any", runtime);
    const { bundleCacheDir } = await test.boot("wrk-1");
    runtime.usesBundle("wrk-1", "used");
    for (const name of ["used", "unused"]) await mkdir(join(bundleCacheDir, name));
    await vi.waitFor(() => expect(readdirSync(bundleCacheDir)).toEqual(["used"]), WAIT);
    await runtime.stop("wrk-1");
    await vi.waitFor(() => expect(readdirSync(bundleCacheDir)).toEqual([]), WAIT);
    await runtime.close();
  });

  it("is heard line by line", async () => {
    const lines: string[] = [];
    test.runtime.onOutput((workerId, stream, line) => lines.push(`${workerId} ${stream} ${line}`));
    await start("prints");
    await test.boot("wrk-1");
    test.end("wrk-1");
    await vi.waitFor(
      () => expect([...lines].sort()).toEqual(["wrk-1 stderr three", "wrk-1 stdout one", "wrk-1 stdout two"]),
      WAIT,
    );
  });

  it("that ends no line is heard all the same, in pieces, so that nothing is kept for it", async () => {
    const lengths: number[] = [];
    test.runtime.onOutput((_workerId, _stream, line) => lengths.push(line.length));
    await start("ends no line");
    const whole = Math.floor(100_000 / LIMITS.logLineLength);
    await vi.waitFor(() => expect(lengths).toEqual(Array.from({ length: whole }, () => LIMITS.logLineLength)), WAIT);
    await test.runtime.stop("wrk-1");
    expect(lengths.slice(whole)).toEqual([100_000 % LIMITS.logLineLength]); // told before its end is
  });

  it("that runs out of memory is known as such", async () => {
    await start("runs out of memory");
    await vi.waitFor(() => expect(exits).toHaveLength(1), WAIT);
    expect(exits[0]).toMatchObject({ description: "was killed by SIGABRT", outOfMemory: true });
  });

  it("that cannot be written down, as on a full disk, does not live (X2)", async () => {
    const records = join(test.settings.folder, "workers");
    await rm(records, { recursive: true });
    await writeFile(records, "no folder");
    const kill = vi.spyOn(process, "kill");
    await expect(start("any")).rejects.toThrow("ENOTDIR");
    const [group, signal] = kill.mock.calls[0] ?? [0];
    kill.mockRestore();
    expect(signal).toBe("SIGKILL");
    expect(await test.runtime.list()).toEqual([]);
    await isGone(-group);
  });

  it("that leaves a process of another user behind has ended all the same", async () => {
    await start("any");
    const { pid } = await test.boot("wrk-1");
    refuseKill((other) => other === -pid);
    test.end("wrk-1");
    await vi.waitFor(() => expect(exits).toMatchObject([{ description: "exited with code 3" }]), WAIT);
    expect(await test.runtime.list()).toEqual([]);
    expect(readdirSync(join(test.settings.folder, "workers"))).toEqual([]);
  });

  it("that left one behind when its server ended keeps no server from starting", async () => {
    const left = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
    const records = join(test.settings.folder, "workers");
    await writeFile(join(records, "wrk-a.json"), JSON.stringify({ pid: 4_194_303, startedAt: "1" }));
    await writeFile(join(records, "wrk-b.json"), JSON.stringify(leaderOf(left.pid ?? 0)));
    refuseKill((pid) => pid === -4_194_303);
    const exited = once(left, "exit");
    const next = new ProcessRuntime(test.settings);
    expect(await exited).toEqual([null, "SIGKILL"]);
    expect(readdirSync(records)).toEqual([]);
    await next.close();
  });

  it("that an ended server left behind is killed at the next start, and nobody else (X2)", async () => {
    const left = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
    const innocent = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
    const records = join(test.settings.folder, "workers");
    await mkdir(records, { recursive: true });
    const leader = leaderOf(left.pid ?? 0);
    await writeFile(join(records, "wrk-left.json"), JSON.stringify(leader));
    // Its number belongs to another process by now.
    await writeFile(join(records, "wrk-reused.json"), JSON.stringify({ pid: innocent.pid, startedAt: "1" }));
    await writeFile(join(records, "wrk-half.json"), '{"pid":');
    await writeFile(join(records, "wrk-gone.json"), JSON.stringify({ pid: 4_194_303, startedAt: "1" }));
    const exited = once(left, "exit");
    const next = new ProcessRuntime(test.settings);
    expect(await exited).toEqual([null, "SIGKILL"]);
    expect(isAlive(innocent.pid ?? 0)).toBe(true);
    expect(readdirSync(records)).toEqual([]);
    expect(await next.list()).toEqual([]);
    innocent.kill("SIGKILL");
    await next.close();
  });
});

/** As it is where all that is left of a group belongs to another user. */
function refuseKill(isRefused: (pid: number) => boolean): void {
  const kill = process.kill.bind(process);
  vi.spyOn(process, "kill").mockImplementation((pid, signal) => {
    if (isRefused(pid)) throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
    return kill(pid, signal);
  });
}

/** A Docker engine of its own for tests, with images made of this machine's own Node: nothing is asked of a registry. */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import Docker from "dockerode";
import { type GroupLeader, leaderOf } from "../../services/scheduler/runtime/process_group.js";
import { killWithUs } from "./kill_with_us.js";
import { untilOwnNetwork } from "./own_network.js";
import { standsStill, statFields } from "./process_status.js";
import { repositoryFile } from "./repository.js";

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const PROBE_INTERVAL_MS = 100;
const IMAGE_TIMEOUT_MS = 180_000;
/** What is shown of the engine's log when it does not start. */
const LOG_CHARACTERS = 4_000;

const FOLDER = "multinode-docker-";
/** File of a folder that says whose it is. */
const OWNER = "owner.json";
export const BASE_IMAGE = "multinode/node:24";
export const WORKER_IMAGE = "multinode/worker:test";

export interface TestEngine {
  readonly socketPath: string;
  readonly docker: Docker;
  /** A process of its network namespace; undefined where that is the one of the tests. */
  readonly networkPid: number | undefined;
  /** SIGKILL. Containers live on. */
  kill(): Promise<void>;
  /** Starts it again after `kill`. */
  restart(): Promise<void>;
  /** SIGSTOP, and SIGCONT: an engine that hangs, and one that comes back. Resolves when it stands still. */
  pause(): Promise<void>;
  resume(): void;
  /** Makes an image on the base: the files of a folder in /opt/multinode. */
  buildImage(tag: string, folder: string): Promise<void>;
  /** Makes WORKER_IMAGE as a release makes it. The package must be built. */
  buildWorkerImage(): Promise<void>;
  /** Removes all containers, ends the engine, and takes away all that it kept. */
  stop(): Promise<void>;
}

export interface EngineOptions {
  /** Whether containers survive a restart of the engine. A node of a Swarm may not. Default: true. */
  readonly liveRestore?: boolean;
  /** Whether it is in a network namespace beside that of the tests, as another machine is. */
  readonly ownNetwork?: boolean;
}

export async function startEngine({ liveRestore = true, ownNetwork = false }: EngineOptions = {}): Promise<TestEngine> {
  refuseSharedNetwork();
  await sweep();
  const folder = await mkdtemp(join(tmpdir(), FOLDER));
  await writeFile(join(folder, OWNER), JSON.stringify(leaderOf(process.pid)));
  const socketPath = join(folder, "docker.sock");
  const docker = new Docker({ socketPath, host: undefined });
  const containerd = spawnContainerd(folder);
  const network = ownNetwork
    ? spawnLogged(folder, "unshare", [["--net", "tail", "-f", join(folder, OWNER)]])
    : undefined;
  if (network !== undefined) await untilOwnNetwork(network.pid);
  const within = network === undefined ? [] : ["nsenter", `--net=/proc/${network.pid}/ns/net`];
  let daemon: ChildProcess | undefined;
  let drivers = ["overlay2", "vfs"];
  const launch = async () => {
    for (const driver of drivers) {
      daemon = spawnDaemon(folder, driver, liveRestore, within);
      if (await answers(docker, daemon)) {
        drivers = [driver];
        return;
      }
      await end(daemon, "SIGKILL");
    }
    throw new Error(`no Docker engine: ${readFileSync(join(folder, "log"), "utf8").slice(-LOG_CHARACTERS)}`);
  };
  const stop = async () => {
    await removeContainers(docker).catch(() => {}); // what this leaves is swept
    if (daemon !== undefined) await end(daemon, "SIGTERM");
    await end(containerd, "SIGTERM");
    if (network !== undefined) await end(network, "SIGTERM");
    await takeAway(folder);
  };
  try {
    await launch();
    await runScript("make_base_image.mjs", [BASE_IMAGE], socketPath);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    socketPath,
    docker,
    networkPid: network?.pid,
    kill: async () => {
      if (daemon !== undefined) await end(daemon, "SIGKILL");
    },
    restart: launch,
    pause: async () => {
      daemon?.kill("SIGSTOP");
      const deadline = performance.now() + STOP_TIMEOUT_MS;
      while (!standsStill(daemon?.pid)) {
        if (performance.now() > deadline) throw new Error("the engine does not stand still");
        await delay(PROBE_INTERVAL_MS);
      }
    },
    resume: () => void daemon?.kill("SIGCONT"),
    buildImage: async (tag, source) => {
      const context = await mkdtemp(join(folder, "context-"));
      await cp(source, join(context, "files"), { recursive: true });
      await writeFile(join(context, "Dockerfile"), `FROM ${BASE_IMAGE}\nCOPY files /opt/multinode\n`);
      await run("docker", ["build", "--quiet", "--network", "none", "-t", tag, context], socketPath);
    },
    buildWorkerImage: () => runScript("make_worker_image.mjs", [WORKER_IMAGE, BASE_IMAGE], socketPath),
    stop,
  };
}

/**
 * An engine deletes the bridge of another one and rewrites its firewall rules. So this one has a network namespace of its
 * own, which the tests are in too: `unshare --net`, as scripts/suites.mjs does.
 */
function refuseSharedNetwork(): void {
  const devices = readFileSync("/proc/net/dev", "utf8").matchAll(/^\s*([^\s:]+):/gm);
  // What engines of ours made here is called br- and veth.
  const foreign = [...devices].flatMap(([, name = ""]) => (/^(lo$|br-|veth)/.test(name) ? [] : [name]));
  if (foreign.length === 0) return;
  const network = `this network has ${foreign.join(", ")}`;
  throw new Error(`${network}: an engine here would break others of this machine; run the tests under unshare --net`);
}

/** Apart from dockerd, as systems run it: so a dockerd that is killed takes no container along. */
function spawnContainerd(folder: string): ChildProcess {
  const config = join(folder, "containerd.toml");
  writeFileSync(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
  return spawnLogged(folder, "containerd", [
    ["--config", config],
    ["--address", containerdSocket(folder)],
    ["--root", join(folder, "containerd")],
    ["--state", join(folder, "containerd-state")],
  ]);
}

function spawnDaemon(folder: string, driver: string, liveRestore: boolean, within: readonly string[]): ChildProcess {
  const [command, ...args] = [...within, "dockerd"];
  return spawnLogged(folder, command, [
    args,
    ["--host", `unix://${join(folder, "docker.sock")}`],
    ["--containerd", containerdSocket(folder)],
    ["--data-root", join(folder, "data")],
    ["--exec-root", join(folder, "exec")],
    ["--pidfile", join(folder, "pid")],
    ["--storage-driver", driver],
    ["--bridge", "none"],
    liveRestore ? ["--live-restore"] : [],
  ]);
}

function containerdSocket(folder: string): string {
  return join(folder, "containerd.sock");
}

function spawnLogged(folder: string, command: string, args: readonly string[][]): ChildProcess {
  const log = openSync(join(folder, "log"), "a");
  const child = spawn(command, args.flat(), { stdio: ["ignore", log, log], detached: true });
  closeSync(log);
  killWithUs(child, () => void child.kill("SIGTERM"));
  child.once("error", () => {}); // nothing ever answers
  return child;
}

async function answers(docker: Docker, daemon: ChildProcess): Promise<boolean> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline && daemon.exitCode === null && daemon.pid !== undefined) {
    try {
      await docker.ping();
      return true;
    } catch {
      await delay(PROBE_INTERVAL_MS);
    }
  }
  return false;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGCONT");
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
}

async function removeContainers(docker: Docker): Promise<void> {
  const containers = await docker.listContainers({ all: true });
  await Promise.all(containers.map(({ Id }) => docker.getContainer(Id).remove({ force: true, v: true })));
  for (const { Id, Labels } of await docker.listNetworks()) {
    if (Object.keys(Labels ?? {}).length > 0) await docker.getNetwork(Id).remove();
  }
}

/** What earlier test processes left that were killed. */
async function sweep(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(FOLDER))) {
    const folder = join(tmpdir(), name);
    if (!existsSync(join(folder, OWNER))) continue;
    const owner = JSON.parse(readFileSync(join(folder, OWNER), "utf8")) as GroupLeader;
    if (leaderOf(owner.pid)?.startedAt !== owner.startedAt) await takeAway(folder);
  }
}

/** Processes, mounts and files under a folder of ours, whatever state they are in. */
async function takeAway(folder: string): Promise<void> {
  const ours = processes().filter(({ command }) => command.includes(`${folder}/`));
  // A container's first process is a child of the shim whose command names the folder; all else in it dies with it.
  const contained = processes().filter(({ parent }) => ours.some(({ pid }) => pid === parent));
  for (const { pid } of [...contained, ...ours]) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
  const mounts = readFileSync("/proc/mounts", "utf8").split("\n");
  const points = mounts.flatMap((line) => line.split(" ")[1] ?? []).filter((point) => point.startsWith(`${folder}/`));
  for (const point of points.toReversed()) execFileSync("umount", ["-l", point], { stdio: "ignore" });
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

function processes(): { readonly pid: number; readonly parent: number; readonly command: string }[] {
  return readdirSync("/proc").flatMap((entry) => {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return [];
    try {
      const parent = Number(statFields(Number(entry))?.[1]);
      return [{ pid: Number(entry), parent, command: readFileSync(`/proc/${entry}/cmdline`, "utf8") }];
    } catch {
      return []; // it ended meanwhile
    }
  });
}

async function runScript(name: string, args: readonly string[], socketPath: string): Promise<void> {
  await run(process.execPath, [repositoryFile(`scripts/${name}`), ...args], socketPath);
}

async function run(command: string, args: readonly string[], socketPath: string): Promise<void> {
  const env = { ...process.env, DOCKER_HOST: `unix://${socketPath}`, DOCKER_BUILDKIT: "0" };
  await promisify(execFile)(command, [...args], { env, timeout: IMAGE_TIMEOUT_MS });
}

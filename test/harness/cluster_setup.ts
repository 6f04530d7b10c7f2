/** vitest's global setup: the cluster of docker-compose.yml with workers in containers, on a Docker engine of its own, for all files. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";
import { startEngine, type TestEngine } from "./docker.js";
import { repositoryFile } from "./repository.js";
import "./gate.js";
import "./target.js";

declare module "vitest" {
  interface ProvidedContext {
    /** Of the engine that the cluster runs on. */
    readonly dockerSocket?: string;
  }
}

const UP_BOUND_MS = 300_000;
const DOWN_BOUND_MS = 120_000;
/** As docker-compose.yml has it: this machine's end of the workers' network, and a scheduler's door there. */
const WORKERS_GATEWAY = "172.31.240.1";
const WORKER_PORT = 7421;
const SCHEDULERS = 2;
/** As docker-compose.yml has it. */
const SERVICE_HOSTS = [11, 21, 22, 31, 32].map((host) => `172.31.239.${host}`);
const METRICS_PORT = 7405;
/** What `cluster:down` says where the engine miscounts what is in a network, which some do now and then. */
const ASKS_FOR_A_RESTART = "restart the engine, then run npm run cluster:down again";
/** Of each service, when something failed. */
const SHOWN_LINES = 200;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const engine = await startEngine();
  const folder = await mkdtemp(join(tmpdir(), "multinode-cluster-"));
  const env = {
    ...process.env,
    DOCKER_HOST: `unix://${engine.socketPath}`,
    MULTINODE_DOCKER_SOCKET: engine.socketPath,
    // Its secrets are not those of a cluster that this checkout runs.
    MULTINODE_CLUSTER_FOLDER: folder,
    // The engine has no bridge of its own, and builds of tests ask nobody.
    MULTINODE_BUILD_NETWORK: "none",
  };
  const stop = async (hasFailed: boolean) => {
    try {
      if (hasFailed) await showLogs(engine);
      const down = () => runScript("cluster_down.mjs", [], { env, timeout: DOWN_BOUND_MS });
      await down().catch(async (error: Error) => {
        if (!error.message.includes(ASKS_FOR_A_RESTART)) throw error;
        console.warn(`${ASKS_FOR_A_RESTART}: done`);
        await engine.kill();
        await engine.restart();
        await down();
      });
      await refuseRemains(engine);
    } finally {
      await engine.stop();
      await rm(folder, { recursive: true, force: true });
    }
  };
  try {
    // Tests and what they deployed meet at other ports of the machine than the firewall leaves open.
    const { stdout } = await runScript("cluster_up.mjs", ["--json", "--own-firewall"], { env, timeout: UP_BOUND_MS });
    const line = stdout.split("\n").findLast((text) => text.startsWith("{")) ?? "";
    const { url, apiKey, ca } = JSON.parse(line) as { url: string; apiKey: string; ca: string };
    // The one for programs that tests start, such as the command line; the other one for tests, whose process may have started.
    process.env["NODE_EXTRA_CA_CERTS"] = ca;
    process.env["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = ca;
    project.provide("targetApiUrl", url);
    project.provide("targetApiKey", apiKey);
    project.provide("targetKind", "services");
    project.provide("targetWorkerUrl", `http://${WORKERS_GATEWAY}:${WORKER_PORT}`);
    project.provide("targetSchedulers", SCHEDULERS);
    project.provide(
      "targetMetricsUrls",
      SERVICE_HOSTS.map((host) => `http://${host}:${METRICS_PORT}/metrics`),
    );
    project.provide("gateHost", WORKERS_GATEWAY);
    project.provide("dockerSocket", engine.socketPath);
  } catch (error) {
    await stop(true);
    throw error;
  }
  return () => stop(project.vitest.state.getCountOfFailedTests() > 0);
}

async function runScript(name: string, args: readonly string[], options: { env: NodeJS.ProcessEnv; timeout: number }) {
  const script = repositoryFile(`scripts/${name}`);
  return await promisify(execFile)(process.execPath, [script, ...args], options);
}

async function showLogs({ docker }: TestEngine): Promise<void> {
  const services = await docker.listContainers({ all: true, filters: { label: ["com.docker.compose.service"] } });
  for (const { Id, Names, Status } of services) {
    const log = await docker.getContainer(Id).logs({ stdout: true, stderr: true, tail: SHOWN_LINES });
    console.error(`── ${Names[0]} (${Status})\n${plain(log)}`);
  }
}

/** Without the 8 bytes before each piece, which tell of which stream it is. */
function plain(log: Buffer): string {
  const pieces: Buffer[] = [];
  for (let at = 0; at + 8 <= log.length; at += 8 + log.readUInt32BE(at + 4))
    pieces.push(log.subarray(at + 8, at + 8 + log.readUInt32BE(at + 4)));
  return Buffer.concat(pieces).toString();
}

/** `cluster:down` leaves nothing but images, and none of projects. */
async function refuseRemains({ docker }: TestEngine): Promise<void> {
  const [containers, networks, { Volumes }, images] = await Promise.all([
    docker.listContainers({ all: true }),
    docker.listNetworks(),
    docker.listVolumes(),
    docker.listImages(),
  ]);
  const remains = [
    ...containers.map(({ Names }) => `container ${Names[0]}`),
    ...networks.filter(({ Name }) => !["host", "none"].includes(Name)).map(({ Name }) => `network ${Name}`),
    ...Volumes.map(({ Name }) => `volume ${Name}`),
    ...images
      .flatMap(({ RepoTags }) => RepoTags ?? [])
      .filter((name) => name.startsWith("multinode-project-"))
      .map((name) => `image ${name}`),
  ];
  if (remains.length > 0) throw new Error(`the cluster was taken down and left ${remains.join(", ")}`);
}

/** An embedded server whose functions run in containers of an engine of its own, on the worker image as a release has it. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { startEmbedded } from "../../services/embedded/embedded.js";
import { createLogger } from "../../services/platform/log.js";
import { DockerRuntime, type DockerRuntimeSettings } from "../../services/scheduler/runtime/docker.js";
import { LABELS, workerNetwork } from "../../services/scheduler/runtime/docker_profile.js";
import { connectTarget, type Target } from "./connected_target.js";
import { startEngine, type TestEngine, WORKER_IMAGE } from "./docker.js";

const NETWORK = "multinode-test";

export interface DockerServer {
  readonly engine: TestEngine;
  readonly target: Target;
  readonly dataDir: string;
  readonly runtime: DockerRuntime;
  readonly settings: DockerRuntimeSettings;
  /** Stops everything, and sees to it that no container is left. */
  stop(): Promise<void>;
}

export async function startDockerServer(
  spareWorkers: number,
  runtimeSettings: Partial<DockerRuntimeSettings> = {},
): Promise<DockerServer> {
  const engine = await startEngine();
  await engine.buildWorkerImage();
  const installationId = randomBytes(6).toString("hex");
  await engine.docker.createNetwork(workerNetwork(NETWORK, installationId));
  const network = await engine.docker.getNetwork(NETWORK).inspect();
  const gateway = (network.IPAM?.Config ?? [])[0]?.["Gateway"] ?? "";
  const dataDir = await mkdtemp(join(tmpdir(), "multinode-docker-server-"));
  const settings = {
    socketPath: engine.socketPath,
    installationId,
    schedulerId: "sch-1",
    image: WORKER_IMAGE,
    network: NETWORK,
    readyNetworks: 4,
    log: createLogger("test", "silent"),
    ...runtimeSettings,
  };
  const runtime = new DockerRuntime(settings);
  const server = await startEmbedded({ dataDir, host: gateway, port: 0, insecure: true, runtime, spareWorkers });
  const apiKey = (await readFile(server.apiKeyFile, "utf8")).trim();
  const target = connectTarget({ apiUrl: server.url, apiKey });
  const stop = async () => {
    await target.close();
    await server.stop();
    const filters = { label: [LABELS.installation] };
    try {
      expect(await engine.docker.listContainers({ all: true, filters })).toEqual([]);
    } finally {
      await engine.stop();
    }
    await rm(dataDir, { recursive: true, force: true });
  };
  return { engine, target, dataDir, runtime, settings, stop };
}

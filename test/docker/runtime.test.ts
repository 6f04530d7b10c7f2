/** The Docker runtime on a real engine: the contract of runtimes, what `docker inspect` shows of a worker, how workers end. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createLogger } from "../../services/platform/log.js";
import { DockerRuntime } from "../../services/scheduler/runtime/docker.js";
import { DockerContainers } from "../../services/scheduler/runtime/docker_containers.js";
import { DockerEngine } from "../../services/scheduler/runtime/docker_engine.js";
import {
  holderContainer,
  LABELS,
  nameOf,
  WORKER_OVERHEAD_BYTES,
} from "../../services/scheduler/runtime/docker_profile.js";
import { testContainerEnds, WorkerRecorder } from "../contract/container_runtime.contract.js";
import { testRuntime, WAIT } from "../contract/runtime.contract.js";
import { BEYOND_ADDRESSES, BEYOND_PORT, openBeyond } from "../harness/beyond.js";
import { startEngine, type TestEngine } from "../harness/docker.js";
import { isAlive, processStatus } from "../harness/process_status.js";
import { buildTestWorker, TEST_WORKER_IMAGE } from "../harness/test_worker.js";

const NETWORK = "multinode-test";
const MIB = 1024 * 1024;

let engine: TestEngine;

beforeAll(async () => {
  engine = await startEngine();
  await buildTestWorker(engine);
}, 120_000);

afterAll(async () => {
  try {
    expect(await labelled(LABELS.installation)).toEqual([]);
  } finally {
    await engine.stop();
  }
}, 60_000);

const labelled = async (label: string) =>
  await engine.docker.listContainers({ all: true, filters: { label: [label] } });

function openRuntime(overrides: { schedulerId?: string; installationId?: string; compareIntervalMs?: number } = {}) {
  const settings = {
    socketPath: engine.socketPath,
    installationId: randomBytes(6).toString("hex"),
    schedulerId: "sch-1",
    image: TEST_WORKER_IMAGE,
    network: NETWORK,
    readyNetworks: 2,
    compareIntervalMs: 500,
    callTimeoutMs: 20_000,
    log: createLogger("test", "silent"),
    ...overrides,
  };
  const runtime = new DockerRuntime(settings);
  const workers = new WorkerRecorder(runtime);
  const container = (workerId: string) => engine.docker.getContainer(nameOf(settings.installationId, workerId));
  return {
    settings,
    runtime,
    container,
    workers,
    boot: (workerId: string) => workers.boot(workerId),
    end: (workerId: string) => void container(workerId).kill({ signal: "SIGUSR2" }),
    failStart: () => {
      settings.image = "multinode/of-nobody:1";
    },
    remove: async () => {
      expect(await labelled(`${LABELS.installation}=${settings.installationId}`)).toEqual([]);
    },
  };
}

describe("the Docker runtime", () => {
  testRuntime(async () => openRuntime());
});

describe("a worker container", () => {
  let test: ReturnType<typeof openRuntime>;

  beforeEach(() => {
    test = openRuntime();
  });
  afterEach(async () => {
    await test.runtime.close();
    await test.remove();
  });

  testContainerEnds(() => test.workers);

  it("is hardened, and shows no secret", async () => {
    await test.workers.start("a secret");
    const { env } = await test.workers.boot("wrk-1");
    await test.runtime.limit("wrk-1", { cpu: 0.25, memoryBytes: 32 * MIB });
    const info = await test.container("wrk-1").inspect();
    expect(JSON.stringify(info)).not.toContain("a secret");
    expect(JSON.stringify(env)).not.toContain("a secret");
    expect(info.Config.User).toBe("65534:65534");
    expect(info.Mounts).toEqual([]);
    expect(info.Config.Labels).toMatchObject({
      [LABELS.installation]: test.settings.installationId,
      [LABELS.scheduler]: "sch-1",
      [LABELS.worker]: "wrk-1",
    });
    const memory = 32 * MIB + WORKER_OVERHEAD_BYTES;
    expect(info.HostConfig).toMatchObject({
      Init: true,
      AutoRemove: false,
      RestartPolicy: { Name: "no" },
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      ReadonlyRootfs: true,
      Privileged: false,
      PidMode: "",
      IpcMode: "private",
      PidsLimit: 256,
      Memory: memory,
      MemorySwap: memory,
      // A quarter, and 50 ms at a time.
      NanoCpus: 0,
      CpuPeriod: 200_000,
      CpuQuota: 50_000,
    });
    const mode = info.HostConfig.NetworkMode ?? "";
    const holder = mode.startsWith("container:")
      ? engine.docker.getContainer(mode.slice("container:".length))
      : undefined;
    expect((await (holder?.inspect() ?? info)).HostConfig.Dns).toEqual(["127.0.0.1"]);
    expect(info.HostConfig.CapAdd).toBeNull();
    expect(info.HostConfig.Binds ?? []).toEqual([]);
    const status = await processStatus(info.State.Pid);
    expect(status).toMatchObject({
      CapEff: "0000000000000000",
      CapBnd: "0000000000000000",
      NoNewPrivs: "1",
      Seccomp: "2",
    });
    expect(status["Uid"]).toBe("65534\t65534\t65534\t65534");
  });

  it("is ended with all that it started (R2)", async () => {
    await test.workers.start("has a child");
    await test.workers.boot("wrk-1");
    const { Processes } = (await test.container("wrk-1").top()) as { Processes: string[][] };
    const pids = Processes.map(([, pid]) => Number(pid));
    expect(pids.length).toBeGreaterThanOrEqual(3);
    await test.runtime.stop("wrk-1");
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await test.workers.exitOf()).toEqual({
      workerId: "wrk-1",
      description: "was killed by SIGKILL",
      outOfMemory: false,
    });
  });

  it("that somebody else kills or removes is told as such", async () => {
    await test.workers.start("any");
    await test.workers.start("any", "wrk-2");
    await test.container("wrk-1").kill();
    await test.container("wrk-2").remove({ force: true });
    expect(await test.workers.exitOf()).toMatchObject({ description: "was killed by SIGKILL", outOfMemory: false });
    expect(await test.workers.exitOf("wrk-2")).toMatchObject({ outOfMemory: false });
  });

  it("reaches neither its neighbours nor what is beyond the machine", async () => {
    await test.workers.start("listens", "wrk-listens");
    await test.workers.boot("wrk-listens");
    const info = await test.container("wrk-listens").inspect();
    const mode = info.HostConfig.NetworkMode ?? "";
    const holder = mode.startsWith("container:")
      ? await engine.docker.getContainer(mode.slice("container:".length)).inspect()
      : info;
    const neighbour = holder.NetworkSettings.Networks[NETWORK]?.IPAddress ?? "";
    // It does listen: the machine itself is let in.
    const socket = connect({ host: neighbour, port: 7_000 });
    await once(socket, "connect");
    socket.destroy();
    await test.workers.start(`connects to ${neighbour}:7000`);
    await vi.waitFor(() => expect(test.workers.printed("wrk-1").at(-1)).toBe("unreachable: timeout"), WAIT);
    const closeBeyond = await openBeyond();
    for (const [i, address] of BEYOND_ADDRESSES.entries()) {
      const workerId = `wrk-beyond-${i}`;
      const beyond = connect({ host: address, port: BEYOND_PORT });
      await once(beyond, "connect"); // from the machine itself
      beyond.destroy();
      await test.workers.start(`connects to ${address}:${BEYOND_PORT}`, workerId);
      await vi.waitFor(() => expect(test.workers.printed(workerId).at(-1)).toBe("unreachable: timeout"), WAIT);
    }
    await closeBeyond();
  });

  it("reaches the machine's end of its network, where the scheduler may listen", async () => {
    await test.workers.start("any");
    const network = await engine.docker.getNetwork(NETWORK).inspect();
    const gateway = (network.IPAM?.Config ?? [])[0]?.["Gateway"] ?? "";
    const server = createServer((socket) => socket.end()).listen(0, gateway);
    await vi.waitFor(() => expect(server.listening).toBe(true), WAIT);
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await test.workers.start(`connects to ${gateway}:${port}`, "wrk-2");
    await vi.waitFor(() => expect(test.workers.printed("wrk-2").at(-1)).toBe("reached"), WAIT);
    server.close();
  });

  it("joins a network that is ready, each its own, and the next worker takes it over", async () => {
    const modeOf = async (workerId: string) => (await test.container(workerId).inspect()).HostConfig.NetworkMode;
    // The runtime alone knows when one is ready: what starts before that is in the network itself.
    const startInHolder = (workerId: string) =>
      vi.waitFor(
        async () => {
          await test.runtime.stop(workerId);
          await test.workers.start("any", workerId);
          expect(await modeOf(workerId)).toMatch(/^container:/);
        },
        { timeout: 30_000, interval: 100 },
      );
    await startInHolder("wrk-1");
    await startInHolder("wrk-2");
    const [one, other] = [await modeOf("wrk-1"), await modeOf("wrk-2")];
    expect(other).not.toBe(one);
    await test.runtime.stop("wrk-1");
    await test.workers.start("any", "wrk-3");
    expect(await modeOf("wrk-3")).toMatch(/^container:/);
    expect(await modeOf("wrk-3")).not.toBe(other);
  });

  it("of a scheduler that is gone is found by another one, which takes it over (E4)", async () => {
    // What such a scheduler leaves, and nobody behind it: a worker in the network of a holder.
    const dead = { ...test.settings, schedulerId: "sch-2" };
    const holder = await engine.docker.createContainer(holderContainer(dead));
    await holder.start();
    const boot = { schedulerUrl: "http://127.0.0.1:1", workerId: "wrk-left", workerToken: "any" };
    const containers = new DockerContainers(new DockerEngine(dead), dead);
    const signal = AbortSignal.timeout(WAIT.timeout);
    const created = await containers.create({ workerId: "wrk-left", boot }, `container:${holder.id}`, signal);
    await containers.start(created, signal);
    const { output } = created;
    await once(output, "data"); // it has booted
    output.destroy();

    expect(await test.runtime.list()).toEqual([]);
    expect(await test.runtime.listInstallation()).toMatchObject([{ workerId: "wrk-left", schedulerId: "sch-2" }]);
    expect(await test.runtime.adopt("wrk-left")).toBe(true);
    expect(await test.runtime.adopt("wrk-of-nobody")).toBe(false);
    expect(await test.runtime.list()).toEqual(["wrk-left"]);
    expect(await test.runtime.holders.listSchedulers()).toContain("sch-2");
    await test.runtime.holders.removeOf("sch-2");
    expect((await holder.inspect()).State.Running).toBe(true); // its worker is in it
    test.end("wrk-left");
    expect(await test.workers.exitOf("wrk-left")).toMatchObject({ description: "exited with code 3" });
    await test.runtime.holders.removeOf("sch-2");
    expect(await test.runtime.holders.listSchedulers()).not.toContain("sch-2");
  });
});

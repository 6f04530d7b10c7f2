/** The Swarm runtime on a Swarm of two nodes: the contract of runtimes, what a worker is made of, how workers end. */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createLogger } from "../../services/platform/log.js";
import { DockerEngine, statusOf } from "../../services/scheduler/runtime/docker_engine.js";
import { LABELS, nameOf, WORKER_OVERHEAD_BYTES } from "../../services/scheduler/runtime/docker_profile.js";
import { SwarmRuntime, USUAL_RESOURCES } from "../../services/scheduler/runtime/swarm.js";
import { SwarmServices } from "../../services/scheduler/runtime/swarm_services.js";
import { testContainerEnds, WorkerRecorder } from "../contract/container_runtime.contract.js";
import { testRuntime } from "../contract/runtime.contract.js";
import { isAlive, processStatus } from "../harness/process_status.js";
import { HOST_ADDRESS, left, startSwarm, type TestSwarm } from "../harness/swarm.js";
import { buildTestWorker, TEST_WORKER_IMAGE } from "../harness/test_worker.js";

const NETWORK = "multinode-test";
const FENCE_MS = 4_000;
const MIB = 1024 * 1024;
const WAIT = { timeout: 30_000, interval: 50 };

let swarm: TestSwarm;

beforeAll(async () => {
  swarm = await startSwarm();
  await buildTestWorker(...swarm.nodes);
}, 180_000);

afterAll(async () => {
  try {
    await vi.waitFor(async () => expect(await left(swarm)).toEqual([]), WAIT);
  } finally {
    await swarm.stop();
  }
}, 120_000);

function openRuntime() {
  const settings = {
    socketPath: swarm.manager.socketPath,
    installationId: randomBytes(6).toString("hex"),
    schedulerId: "sch-1",
    image: TEST_WORKER_IMAGE,
    network: NETWORK,
    compareIntervalMs: 300,
    callTimeoutMs: 5_000,
    fenceMs: FENCE_MS,
    log: createLogger("test", "silent"),
  };
  const runtime = new SwarmRuntime(settings);
  const workers = new WorkerRecorder(runtime);
  const name = (workerId: string) => nameOf(settings.installationId, workerId);
  return {
    settings,
    runtime,
    name,
    workers,
    boot: (workerId: string) => workers.boot(workerId),
    end: (workerId: string) => void programOf(workerId).then((pid) => process.kill(pid, "SIGUSR2")),
    failStart: () => {
      settings.image = "multinode/of-nobody:1";
    },
    remove: async () => {
      const filters = { label: [`${LABELS.installation}=${settings.installationId}`] };
      expect(await swarm.manager.docker.listServices({ filters })).toEqual([]);
      expect(await swarm.manager.docker.listSecrets({ filters })).toEqual([]);
    },
  };
}

/** The container of a worker, on whichever node it is. */
async function containerOf(workerId: string) {
  for (const { docker } of swarm.nodes) {
    const [info] = await docker.listContainers({ filters: { label: [`${LABELS.worker}=${workerId}`] } });
    if (info !== undefined) return docker.getContainer(info.Id);
  }
  throw new Error(`no node has a container of ${workerId}`);
}

/** The worker's program: as this machine numbers it, which both nodes are on. */
async function programOf(workerId: string): Promise<number> {
  const { Processes } = (await (await containerOf(workerId)).top()) as { Processes: string[][] };
  const program = Processes.find((columns) => columns.at(-1)?.startsWith("node "));
  return Number(program?.[1]);
}

describe("the Swarm runtime", () => {
  testRuntime(async () => openRuntime());
});

describe("a worker of a Swarm", () => {
  let test: ReturnType<typeof openRuntime>;

  beforeEach(() => {
    test = openRuntime();
  });
  afterEach(async () => {
    await test.runtime.close();
    await test.remove();
  });

  testContainerEnds(() => test.workers);

  it("is hardened, has the limits of its function, and shows no secret", async () => {
    await test.workers.start("a secret", "wrk-1", { cpu: 0.25, memoryBytes: 32 * MIB });
    const { env } = await test.workers.boot("wrk-1");
    const info = await (await containerOf("wrk-1")).inspect();
    const service = (await swarm.manager.docker.getService(test.name("wrk-1")).inspect()) as object;
    expect(JSON.stringify([info, service, env])).not.toContain("a secret");
    expect(service).toMatchObject({ Spec: { Mode: { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } } } });
    expect(info.Config.Labels).toMatchObject({
      [LABELS.installation]: test.settings.installationId,
      [LABELS.scheduler]: "sch-1",
      [LABELS.worker]: "wrk-1",
    });
    expect(info.HostConfig).toMatchObject({
      Init: true,
      CapDrop: ["ALL"],
      CapAdd: ["SETUID", "SETGID", "SETPCAP"],
      ReadonlyRootfs: true,
      Privileged: false,
      PidMode: "",
      IpcMode: "private",
      Dns: ["127.0.0.1"],
      PidsLimit: 256,
      Memory: 32 * MIB + WORKER_OVERHEAD_BYTES,
      NanoCpus: 0.25e9,
    });
    expect(info.Mounts.map(({ Type, Destination }) => `${Type} ${Destination}`).toSorted()).toEqual([
      "tmpfs /code",
      "tmpfs /tmp",
    ]);
    const status = await processStatus(await programOf("wrk-1"));
    expect(status).toMatchObject({
      Uid: "65534\t65534\t65534\t65534",
      Gid: "65534\t65534\t65534\t65534",
      Groups: " ",
      CapInh: "0000000000000000",
      CapEff: "0000000000000000",
      CapBnd: "0000000000000000",
      NoNewPrivs: "1",
      Seccomp: "2",
    });
  });

  it("cannot read the file that its secret came in, nor reach what is beyond the nodes", async () => {
    await Promise.all([
      test.workers.start("reads /run/secrets/multinode-boot"),
      test.workers.start("connects to 192.0.2.1:80", "wrk-2"),
      test.workers.start(`connects to ${HOST_ADDRESS}:2377`, "wrk-3"),
    ]);
    const last = (workerId: string) => test.workers.printed(workerId).at(-1);
    await vi.waitFor(() => expect(last("wrk-1")).toBe("unreadable: EACCES"), WAIT);
    for (const workerId of ["wrk-2", "wrk-3"]) {
      await vi.waitFor(() => expect(last(workerId)).toBe("unreachable: ENETUNREACH"), WAIT);
    }
  });

  it("that somebody else kills or removes is told as such", async () => {
    await test.workers.start("any");
    await (await containerOf("wrk-1")).kill();
    expect((await test.workers.exitOf()).description).toMatch(
      /^was ended by Swarm \(failed: task: non-zero exit \(137\)/,
    );
    await removeEnded();
  });

  it("runs on the other node too, and workers are ended there", async () => {
    const ids = Array.from({ length: 4 }, (_, i) => `wrk-${i}`);
    const refs = await Promise.all(ids.map((workerId) => test.workers.start("has a child", workerId)));
    expect(refs.every((ref) => ref.startsWith("service on "))).toBe(true);
    await Promise.all(ids.map((workerId) => test.workers.boot(workerId)));
    const filters = { label: [LABELS.worker] };
    const counts = await Promise.all(
      swarm.nodes.map(async ({ docker }) => (await docker.listContainers({ filters })).length),
    );
    expect(counts).toEqual([2, 2]);
    const pids = await Promise.all(ids.map(programOf));
    await Promise.all(ids.map((workerId) => test.runtime.stop(workerId)));
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await test.workers.exitOf("wrk-3")).toMatchObject({ description: "was killed by SIGKILL" });
  });

  it("that no node takes waits for one, and says so when it is stopped", async () => {
    const warned = vi.spyOn(test.settings.log, "warn");
    await setAvailability("drain");
    const starting = expect(test.workers.start("any")).rejects.toThrow(
      /stopped before it had started \(pending: no suitable node/,
    );
    await vi.waitFor(() => expect(warned).toHaveBeenCalledWith(expect.anything(), "a worker waits for a node"), WAIT);
    await Promise.all([starting, test.runtime.stop("wrk-1")]);
    expect(await test.runtime.list()).toEqual([]);
    expect(test.workers.exits).toEqual([]);
    await setAvailability("active");
  });

  it("of a scheduler that is gone is found by another one, which takes it over (W5)", async () => {
    const gone = new SwarmRuntime({ ...test.settings, schedulerId: "sch-2" });
    const boot = { schedulerUrl: "http://127.0.0.1:1", workerId: "wrk-left", workerToken: "repeats" };
    await gone.start({ workerId: "wrk-left", boot });
    gone.release("wrk-left");
    await gone.close();
    expect(await test.runtime.list()).toEqual([]);
    expect(await test.runtime.listInstallation()).toEqual([{ workerId: "wrk-left", schedulerId: "sch-2" }]);
    expect(await test.runtime.adopt("wrk-left")).toBe(true);
    expect(await test.runtime.adopt("wrk-of-nobody")).toBe(false);
    expect(await test.runtime.list()).toEqual(["wrk-left"]);
    await vi.waitFor(() => expect(test.workers.printed("wrk-left")).toContain("again"), WAIT);
    test.end("wrk-left");
    expect(await test.workers.exitOf("wrk-left")).toMatchObject({ description: "exited with code 3" });
  });

  it("on a node that is lost is over when it must have ended itself, and others start elsewhere (W3)", async () => {
    await Promise.all(["wrk-1", "wrk-2"].map((workerId) => test.workers.start("any", workerId)));
    const filters = { label: [LABELS.worker] };
    const [lost] = await swarm.other.docker.listContainers({ filters });
    const workerId = lost?.Labels[LABELS.worker] ?? "";
    expect(workerId, "the worker on the other node").not.toBe("");
    await swarm.cut();
    const startedAt = performance.now();
    const stopped = inTime("the stop", test.runtime.stop(workerId));
    await inTime("the start elsewhere", test.workers.start("any", "wrk-3"));
    expect(test.workers.exits).toEqual([]);
    await stopped;
    expect(performance.now() - startedAt).toBeGreaterThan(FENCE_MS);
    expect(await test.workers.exitOf(workerId)).toMatchObject({ description: "was killed by SIGKILL" });
    await swarm.heal();
    // The node is told what to end when it is back.
    await vi.waitFor(async () => expect(await swarm.other.docker.listContainers({ filters })).toEqual([]), WAIT);
  }, 240_000); // an engine may take a minute to see that its manager is back

  it("is asked for until the engine of the manager is back, and what was made already is gone on with (W4)", async () => {
    await test.workers.start("any");
    const services = new SwarmServices(new DockerEngine(test.settings), test.settings);
    const boot = { schedulerUrl: "http://127.0.0.1:1", workerId: "wrk-1", workerToken: "any" };
    await services.create("wrk-1", boot, USUAL_RESOURCES, AbortSignal.timeout(WAIT.timeout));
    // What an engine was about to remove when it was killed stays, without a process.
    await vi.waitFor(async () => expect(await left(swarm)).toHaveLength(3), WAIT);
    await swarm.manager.kill();
    await expect(test.runtime.list()).rejects.toThrow("docker.sock");
    const both = Promise.all([test.runtime.stop("wrk-1"), test.workers.start("any", "wrk-2")]);
    await swarm.manager.restart();
    await both;
    expect(await test.runtime.list()).toEqual(["wrk-2"]);
    expect(test.workers.exits.map(({ workerId }) => workerId)).toEqual(["wrk-1"]);
    await removeEnded();
  });
});

async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = delay(WAIT.timeout, undefined, { ref: false }).then(() => {
    throw new Error(`${what} takes more than ${WAIT.timeout} ms`);
  });
  return await Promise.race([promise, late]);
}

async function setAvailability(Availability: "active" | "drain"): Promise<void> {
  const { docker } = swarm.manager;
  for (const { ID, Version, Spec } of await docker.listNodes()) {
    await docker.getNode(ID).update({ _query: { version: Version.Index }, _body: { ...Spec, Availability } });
  }
}

/** Engine 20.10 keeps the container of a task that nobody had asked to end. */
async function removeEnded(): Promise<void> {
  for (const { docker } of swarm.nodes) {
    const ended = await docker.listContainers({ all: true, filters: { status: ["exited"] } });
    for (const { Id } of ended) {
      await docker
        .getContainer(Id)
        .remove({ force: true })
        .catch((error) => expect(statusOf(error)).toBeOneOf([404, 409])); // the engine removes it itself
    }
  }
}

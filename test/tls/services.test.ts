/** The services as processes of their own, with TLS between all of them. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ChannelCredentials } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { createLogger } from "../../services/platform/log.js";
import { type CertificateFiles, Certificates } from "../../services/platform/rpc/certificates.js";
import { connectToService } from "../../services/platform/rpc/service_client.js";
import { type CertificateName, makeCertificates } from "../harness/certificates.js";
import { connectTarget } from "../harness/connected_target.js";
import { freePort } from "../harness/free_port.js";
import { type ServicesTarget, startServicesTarget } from "../harness/services_target.js";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));
const NAMES = ["registry", "invocation", "scheduler"] as const;
const WAIT = { timeout: 15_000, interval: 50 };
const SERVING = 1;
const NOT_SERVING = 2;
/** Of a line of the log. */
const FATAL = 60;
const run = promisify(execFile);

let folder: string;
let ours: (name: CertificateName) => CertificateFiles;
let foreign: (name: CertificateName) => CertificateFiles;
let services: ServicesTarget;

const settingsOf = ({ cert, key, ca }: CertificateFiles) => ({
  MULTINODE_TLS_CERT: cert,
  MULTINODE_TLS_KEY: key,
  MULTINODE_TLS_CA: ca,
});
/** Of a service on its own, which reaches no other. */
const environmentFor = (dataDir: string) => ({
  PATH: process.env["PATH"],
  MULTINODE_DATA_DIR: join(folder, dataDir),
  MULTINODE_LISTEN: "127.0.0.1:0",
  MULTINODE_SERVICE_TOKEN: "x".repeat(40),
  MULTINODE_REGISTRY_ADDRESS: "127.0.0.1:1",
  MULTINODE_INVOCATION_ADDRESS: "127.0.0.1:1",
  MULTINODE_API_URL: "http://127.0.0.1:1",
});
const portOf = (name: (typeof NAMES)[number]) => Number(services.servers[name]?.announced["port"]);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-tls-"));
  [ours, foreign] = await Promise.all([
    makeCertificates(join(folder, "ours")),
    makeCertificates(join(folder, "foreign")),
  ]);
  const { cert, key, ca } = ours("gateway");
  // Its workers trust our authority beside the one that it was told to trust.
  const forScheduler = { MULTINODE_WORKER_LISTEN: "127.0.0.1:0", NODE_EXTRA_CA_CERTS: foreign("gateway").ca };
  services = await startServicesTarget(undefined, {
    env: (name) => ({
      ...settingsOf(ours(name)),
      MULTINODE_LOG_LEVEL: "info",
      ...(name === "scheduler" ? forScheduler : {}),
    }),
    tls: { cert: await readFile(cert), key: await readFile(key), ca: await readFile(ca) },
  });
});
afterAll(async () => {
  await services.stop();
  await rm(folder, { recursive: true, force: true });
});

it("run a function, whose worker comes to the scheduler without a certificate", async () => {
  const target = connectTarget(services);
  const main = `
    import { Multinode } from "multinode";
    export const mn = new Multinode();
    export const double = mn.function({}, (value: number) => value * 2);
  `;
  const { fn } = await target.deploy({ "main.ts": main });
  expect(await fn<(value: number) => number>("double").callRemote(21)).toBe(42);
  await target.close();
});

describe.each(NAMES)("the %s", (name) => {
  const healthOf = async (files?: CertificateFiles) => {
    const certificates = files && new Certificates(files, createLogger("test", "silent"));
    const connection = connectToService(`localhost:${portOf(name)}`, "x".repeat(40), certificates?.client());
    try {
      return (await connection.client(HealthDefinition).check({ service: "" })).status;
    } finally {
      connection.close();
      certificates?.close();
    }
  };

  it("tells whoever has a certificate that it serves", async () => {
    expect(await healthOf(ours("gateway"))).toBe(SERVING);
    await expect(healthOf()).rejects.toMatchObject({ reason: "Unavailable" });
    await expect(healthOf(foreign("gateway"))).rejects.toMatchObject({ reason: "Unavailable" });
  });

  it("shows its services by reflection to who has a certificate, and to nobody else", async () => {
    const { cert, key, ca } = ours("gateway");
    const list = (...more: string[]) =>
      run(
        "buf",
        ["curl", "--protocol", "grpc", "--cacert", ca, ...more, "--list-services", `https://localhost:${portOf(name)}`],
        {
          env: { ...process.env, PATH: `${REPOSITORY}node_modules/.bin:${process.env["PATH"]}` },
        },
      );
    const { stdout } = await list("--cert", cert, "--key", key);
    expect(stdout).toContain(`multinode.${name}.v1.`);
    await expect(list()).rejects.toThrow("Command failed");
  });

  it("logs lines of JSON only", () => {
    const server = services.servers[name];
    expect(server?.logged()).toContainEqual(expect.objectContaining({ name, msg: "listening", tls: true }));
    expect(server?.stderr().replaceAll(/.*(DEP0123|trace-deprecation).*\n/g, "")).toBe("");
  });
});

it("a certificate alone opens no inner method", async () => {
  const certificates = new Certificates(ours("gateway"), createLogger("test", "silent"));
  const connection = connectToService(`localhost:${portOf("registry")}`, "x".repeat(40), certificates.client());
  const catalog = connection.client(CatalogServiceDefinition);
  await expect(catalog.resolveProject({ projectName: "p" })).rejects.toMatchObject({ reason: "ApiKeyIsInvalid" });
  connection.close();
  certificates.close();
});

it("the service token alone opens no connection, except to the listener for workers, which serves nothing else", async () => {
  const ca = ChannelCredentials.createSsl(await readFile(ours("gateway").ca));
  const inner = connectToService(`localhost:${portOf("registry")}`, "x".repeat(40), ca);
  const call = (connection: typeof inner) =>
    connection.client(CatalogServiceDefinition).resolveProject({ projectName: "p" });
  await expect(call(inner)).rejects.toMatchObject({ reason: "Unavailable" });
  inner.close();
  const workerPort = services.servers["scheduler"]?.announced["openPort"];
  const open = connectToService(`localhost:${Number(workerPort)}`, "x".repeat(40), ca);
  await expect(call(open)).rejects.toThrow("UNIMPLEMENTED");
  open.close();
});

it("end in order when they are told to", async () => {
  for (const name of NAMES.toReversed()) {
    const server = services.servers[name];
    const startedAt = performance.now();
    await server?.stop();
    expect(await server?.ended).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(15_000);
    const messages = server?.logged().map(({ msg }) => msg);
    expect(messages).toEqual(expect.arrayContaining(["stopping", "stopped"]));
    expect(messages?.at(-1)).toBe("stopped"); // and nothing was left over that would have kept it
  }
});

it("a service that waits for another is not healthy, and ends when it is told to", async () => {
  const port = await freePort();
  const healthFile = join(folder, "health");
  const address = `127.0.0.1:${port}`;
  const child = spawn(process.execPath, [join(REPOSITORY, "build/services/scheduler/main.js")], {
    stdio: "ignore",
    env: { ...environmentFor("waiting"), MULTINODE_LISTEN: address, MULTINODE_HEALTH_FILE: healthFile },
  });
  const ended = once(child, "exit");
  const connection = connectToService(address, "x".repeat(40));
  const health = connection.client(HealthDefinition);
  await vi.waitFor(async () => expect((await health.check({ service: "" })).status).toBe(NOT_SERVING), WAIT);
  connection.close();
  expect(existsSync(healthFile)).toBe(false);
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), WAIT.timeout);
  expect(await ended).toEqual([0, null]);
  clearTimeout(timer);
});

describe("settings that would leave a service open, or that make no sense, are refused by name", () => {
  const start = async (name: string, env: Record<string, string>) => {
    const child = spawn(process.execPath, [join(REPOSITORY, `build/services/${name}/main.js`)], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...environmentFor("refused"), ...env },
    });
    let said = "";
    let beside = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      beside += text;
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    const [code] = await once(child, "close");
    clearTimeout(timer);
    expect(code).toBe(1);
    // In its log, like all else that it says, and without a stack.
    expect(beside).toBe("");
    const lines = said
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([[FATAL, "a setting is wrong"]]);
    return String(lines[0]?.["problem"]);
  };

  it.each([
    [
      "registry",
      () => ({ MULTINODE_TLS_CERT: ours("registry").cert }),
      "MULTINODE_TLS_KEY and MULTINODE_TLS_CA is missing",
    ],
    [
      "registry",
      () => ({ MULTINODE_TLS_CERT: "/nowhere" }),
      'MULTINODE_TLS_CERT is "/nowhere": cannot be read: ENOENT',
    ],
    [
      "registry",
      () => settingsOf({ ...ours("registry"), ca: foreign("registry").ca }),
      "was not issued by the authority",
    ],
    ["scheduler", () => settingsOf(ours("scheduler")), "MULTINODE_WORKER_LISTEN is missing"],
    ["registry", () => ({ MULTINODE_LISTEN: "0.0.0.0:0" }), "0.0.0.0 is not a loopback address"],
    ["scheduler", () => ({ MULTINODE_WORKER_LISTEN: "0.0.0.0:0" }), "0.0.0.0 is not a loopback address"],
    ["registry", () => ({ MULTINODE_INVOCATION_ADDRESS: "invocation:7002" }), "invocation:7002 is not on this machine"],
    ["registry", () => ({ MULTINODE_NATS_URL: "nats://u:hush@nats:4222" }), "nats:4222 is not on this machine"],
    ["registry", () => ({ MULTINODE_NATS_URL: "nats://u:hush@" }), "MULTINODE_NATS_URL is wrong: server 1 of 1"],
    [
      "scheduler",
      () => ({ MULTINODE_MAX_WORKERS: "0", MULTINODE_LOG_LEVEL: "silent" }),
      'MULTINODE_MAX_WORKERS is "0"',
    ],
    [
      "scheduler",
      () => ({ MULTINODE_READY_NETWORKS: "4" }),
      'MULTINODE_READY_NETWORKS is set: the runtime "process" has no use for it',
    ],
  ])("%s %#", async (name, env, complaint) => {
    const said = await start(name, env());
    expect(said).toContain(complaint);
    expect(said).not.toContain("hush");
  });
});

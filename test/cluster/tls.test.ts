/** What a cluster answers to who speaks plain text, or shows no certificate of its authority (docs/tls.md). */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, type SecureClientSessionOptions } from "node:http2";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { makeCertificates } from "../harness/certificates.js";
import { ClusterContainers } from "../harness/cluster_containers.js";
import { runCommandLine } from "../harness/command_line.js";

/** Where services come to each other: the service, the name in its certificate, its port. */
const INNER = [
  ["registry", "registry", 7401],
  ["invocation-1", "invocation", 7402],
  ["invocation-2", "invocation", 7402],
  ["scheduler-1", "scheduler", 7403],
  ["scheduler-2", "scheduler", 7403],
  ["gateway", "gateway", 7410],
] as const;
const INNER_METHOD = "/multinode.registry.v1.CatalogService/ResolveProject";
const PUBLIC_METHOD = "/multinode.registry.v1.RegistryService/ListProjects";
const BOUND_MS = 5_000;

const containers = new ClusterContainers();
const apiUrl = inject("targetApiUrl");
/** As `cluster:up` says it, for NODE_EXTRA_CA_CERTS. */
const caFile = process.env["NODE_EXTRA_CA_CERTS"] ?? "";
let folder: string;
let ca: Buffer;
/** What a service shows, and the same of another authority. */
let ours: SecureClientSessionOptions;
let foreign: SecureClientSessionOptions;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-cluster-tls-"));
  const other = (await makeCertificates(folder))("gateway");
  const own = (kind: string) => readFile(join(dirname(caFile), "gateway", `gateway.${kind}`));
  ca = await readFile(caFile);
  ours = { ca, cert: await own("crt"), key: await own("key") };
  foreign = { ca, cert: await readFile(other.cert), key: await readFile(other.key) };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** "served" if the call came to a service, whatever that answered; else how it was refused. */
async function call(url: string, path: string, options: SecureClientSessionOptions = {}): Promise<string> {
  const session = connect(url, options);
  try {
    return await new Promise<string>((resolve) => {
      session.on("error", (error) => resolve(`refused: ${error.message}`));
      session.on("close", () => resolve("refused: closed"));
      session.setTimeout(BOUND_MS, () => resolve("no answer"));
      const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
      const stream = session.request(headers);
      stream.on("error", (error) => resolve(`refused: ${error.message}`));
      stream.on("response", (found) => {
        const isGrpc = found["content-type"]?.startsWith("application/grpc") === true;
        resolve(found[":status"] === 200 && isGrpc ? "served" : `refused: status ${found[":status"]}`);
      });
      stream.end(Buffer.alloc(5));
    });
  } finally {
    session.destroy();
  }
}

describe.each(INNER)("the inner port of %s", (service, servername, port) => {
  let address: string;
  beforeAll(async () => {
    address = `${await containers.addressOf(service, "multinode_inner")}:${port}`;
  });

  test("serves who shows a certificate of the authority, and nobody else", async () => {
    const secure = (options: SecureClientSessionOptions) =>
      call(`https://${address}`, INNER_METHOD, { ...options, servername });
    expect(await secure(ours)).toBe("served");
    expect(await secure({ ca })).toMatch(/^refused: /);
    expect(await secure(foreign)).toMatch(/^refused: /);
  });

  test("serves no plain text", async () => {
    expect(await call(`http://${address}`, INNER_METHOD)).toMatch(/^refused: /);
  });
});

describe("the gateway", () => {
  test("serves TLS to who has no certificate, and no plain text", async () => {
    expect(await call(apiUrl, PUBLIC_METHOD, { ca })).toBe("served");
    expect(await call(apiUrl.replace("https:", "http:"), PUBLIC_METHOD)).toMatch(/^refused: /);
  });

  test("is told by the command line to speak TLS, and to be of an authority that is not trusted", async () => {
    const list = async (url: string, env: Readonly<Record<string, string>>) => {
      const login = { MULTINODE_API_URL: url, MULTINODE_API_KEY: inject("targetApiKey"), MULTINODE_HOME: folder };
      const { exitStatus, stderr } = await runCommandLine(["list"], { ...login, ...env });
      return { exitStatus, next: stderr.trim().split("\n").at(-1) };
    };
    const trusting = { NODE_EXTRA_CA_CERTS: caFile };
    expect(await list(apiUrl, trusting)).toEqual({ exitStatus: 0, next: "" });
    const plain = await list(apiUrl.replace("https:", "http:"), trusting);
    expect(plain).toEqual({ exitStatus: 1, next: expect.stringContaining("try https://") });
    const untrusting = await list(apiUrl, {});
    expect(untrusting).toEqual({ exitStatus: 1, next: expect.stringContaining("NODE_EXTRA_CA_CERTS") });
  });
});

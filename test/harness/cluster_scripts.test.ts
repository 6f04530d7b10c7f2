/** What `cluster:up` does before it asks an engine for anything. */
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { repositoryFile } from "./repository.js";

const folder = mkdtempSync(join(tmpdir(), "multinode-cluster-scripts-"));
// The scripts look at it when they are loaded.
vi.stubEnv("MULTINODE_CLUSTER_FOLDER", folder);
writeFileSync(join(folder, "settings"), "MULTINODE_MAX_WORKERS=7\nMULTINODE_SPARE_WORKERS=3\n");
vi.stubEnv("MULTINODE_SPARE_WORKERS", "1");
const {
  CA_FILE,
  ensureCertificates,
  holdCluster,
  hostOf,
  leaveTls,
  refuseUnknownSettings,
  refuseWrongSettings,
  reloadHolders,
  removeSecrets,
  runningHolders,
  usesTls,
} = await import("../../scripts/cluster.mjs");

const settingsAtStart = { ...process.env };

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("MULTINODE_ADDRESS of cluster:up", () => {
  it.each([
    ["127.0.0.1:7400", "127.0.0.1"],
    ["192.0.2.1:443", "192.0.2.1"],
    ["192.0.2.1:7409", "192.0.2.1"],
    ["0.0.0.0:65535", "0.0.0.0"],
    ["[::1]:7400", "::1"],
  ])("may be %s", (address, host) => {
    expect(hostOf(address, ["192.0.2.1"])).toBe(host);
  });

  it.each([
    "",
    "127.0.0.1",
    ":7500",
    "7500",
    "abc",
    "localhost:7500",
    "127.0.0.1:",
    "127.0.0.1:0",
    "127.0.0.1:99999",
    "127.0.0.1:7400:7400",
    "[127.0.0.1]:7400",
    "::1:7400",
    " 127.0.0.1:7400",
    "127.0.0.1:7400/udp",
  ])("is refused, with its form, when it is %j", (address) => {
    expect(() => hostOf(address)).toThrow(`MULTINODE_ADDRESS is "${address}": must be an IP address`);
  });

  it("may be one in another spelling", () => {
    expect(hostOf("[2001:DB8::1]:7400", ["192.0.2.1", "2001:db8:0:0::1"])).toBe("2001:DB8::1");
  });

  it("is refused where it is no address of this machine", () => {
    expect(() => hostOf("192.0.2.1:7400", ["198.51.100.7"])).toThrow(
      'MULTINODE_ADDRESS is "192.0.2.1:7400": must be an IP address of this machine, which has 198.51.100.7',
    );
  });

  it.each(["127.0.0.1:7409", "127.0.0.1:7421", "0.0.0.0:7422", "0.0.0.0:7400"])(
    "is refused where the cluster itself listens: %s",
    (address) => {
      expect(() => hostOf(address)).toThrow("the cluster itself uses port");
    },
  );
});

describe("the settings that cluster:up hands on", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("are refused, all that are wrong, before anything is touched", async () => {
    vi.stubEnv("MULTINODE_MAX_WORKERS", "0");
    vi.stubEnv("MULTINODE_LOG_LEVEL", "verbose");
    vi.stubEnv("MULTINODE_RETENTION_DAYS", "");
    for (const problem of ["RETENTION_DAYS is empty", 'MAX_WORKERS is "0"', 'LOG_LEVEL is "verbose"'])
      await expect(refuseWrongSettings()).rejects.toThrow(problem);
  });

  it("are refused where the runtime has no use for them", async () => {
    vi.stubEnv("MULTINODE_RUNTIME", "swarm");
    vi.stubEnv("MULTINODE_BUILD_NETWORK", "none");
    await expect(refuseWrongSettings()).rejects.toThrow("MULTINODE_BUILD_NETWORK is set");
  });

  it("come from the cluster's folder too, where the environment says nothing", () => {
    expect(settingsAtStart).toMatchObject({ MULTINODE_MAX_WORKERS: "7", MULTINODE_SPARE_WORKERS: "1" });
  });

  it("may be none", async () => {
    await refuseWrongSettings();
  });

  it("are refused in the cluster's folder where the cluster has none of that name", () => {
    refuseUnknownSettings();
    const file = join(folder, "settings");
    const settings = readFileSync(file, "utf8");
    // A setting of a service that docker-compose.yml sets by itself is none of the cluster either.
    for (const name of ["MULTINODE_MAX_WORKER", "MULTINODE_LISTEN"]) {
      writeFileSync(file, `${settings}${name}=5\nDOCKER_HOST=x\n`);
      expect(() => refuseUnknownSettings()).toThrow(`settings sets ${name}: the cluster has no such setting`);
    }
    writeFileSync(file, settings);
  });
});

describe("the folder of a cluster", () => {
  it("is one process's at a time, and is free when that has ended, in whatever way", () => {
    holdCluster();
    expect(() => holdCluster()).toThrow(`process ${process.pid} is starting or ending this cluster`);
    const { pid } = spawnSync(process.execPath, ["-e", ""]);
    writeFileSync(join(folder, "lock"), `${pid}\n`);
    holdCluster();
    expect(readFileSync(join(folder, "lock"), "utf8")).toBe(`${process.pid}\n`);
  });
});

describe("the authority of cluster:up", () => {
  it("stays while certificates are renewed, and where the cluster goes without TLS for a time", () => {
    const authorities = [1, 2, 3].map((time) => {
      ensureCertificates(["127.0.0.1"]);
      const authority = readFileSync(CA_FILE, "utf8");
      if (time === 2) leaveTls();
      expect(usesTls()).toBe(time !== 2);
      return authority;
    });
    expect(new Set(authorities).size).toBe(1);
  });
});

it("the gateway's certificate is for the name by which docker-compose.yml has services call it", () => {
  ensureCertificates(["127.0.0.1"]);
  const certificate = new X509Certificate(readFileSync(join(folder, "tls/gateway/gateway.crt")));
  const compose = readFileSync(repositoryFile("docker-compose.yml"), "utf8");
  const names = Array.from(compose.matchAll(/: (\S+):7410$/gm), ([, name = ""]) => name);
  expect(new Set(names)).toEqual(new Set(["gateway-inner"]));
  expect(certificate.checkHost("gateway-inner")).toBe("gateway-inner");
  expect(compose).toContain("aliases: [gateway-inner]");
});

it("certificates that are renewed are given to what was running before, and still is", () => {
  const engine = join(folder, "docker");
  const answerPs = (...lines: string[]) => writeFileSync(join(folder, "ps"), lines.join("\n"));
  const said = join(folder, "said");
  const script = `#!/bin/sh\necho "$@" >> '${said}'\n[ "$1" != ps ] || cat '${join(folder, "ps")}'\n`;
  writeFileSync(engine, script, { mode: 0o755 });
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"]}`);
  answerPs("a gateway", "b nats", "c registry", "d worker-gate");
  const earlier = runningHolders();
  answerPs("a gateway", "b nats", "c registry", "e worker-gate");
  reloadHolders(earlier);
  const calls = readFileSync(said, "utf8").split("\n");
  expect(calls.filter((call) => call !== "" && !call.startsWith("ps "))).toEqual([
    "exec a nginx -c /etc/multinode-gateway/nginx.conf -s reload",
    "exec b nats-server --signal reload=1",
  ]);
});

it("what the operator has written stays when the cluster goes", () => {
  ensureCertificates(["127.0.0.1"]);
  removeSecrets();
  expect(readdirSync(folder)).toEqual(["settings"]);
});

import { describe, expect, it } from "vitest";
import { readSettings } from "../../platform/config.js";
import { createLogger } from "../../platform/log.js";
import { installationIdOf, openRuntime, RUNTIME_SETTINGS } from "./runtime_settings.js";

describe("the settings of the runtime", () => {
  it("choose processes where nothing is said", () => {
    expect(readSettings(RUNTIME_SETTINGS, {})).toEqual({ MULTINODE_RUNTIME: "process" });
  });

  it.each([
    ["MULTINODE_RUNTIME", "podman"],
    ["MULTINODE_DOCKER_SOCKET", "docker.sock"],
    ["MULTINODE_WORKER_IMAGE", "../worker"],
    ["MULTINODE_WORKER_NETWORK", "container:other"],
    ["MULTINODE_WORKER_NETWORK", "-x"],
    ["MULTINODE_WORKER_NAME_SERVERS", "example.com"],
    ["MULTINODE_WORKER_NAME_SERVERS", "192.0.2.1,"],
    ["MULTINODE_READY_NETWORKS", "-1"],
    ["MULTINODE_READY_NETWORKS", ""],
    ["MULTINODE_WORKER_OCI_RUNTIME", ""],
    ["MULTINODE_IMAGE_BUILDS", "no"],
    ["MULTINODE_BUILD_NETWORK", "container:other"],
  ])("refuse %s=%s by its name", (name, value) => {
    const problem = value === "" ? `${name} is empty` : `${name} is "${value}": must be `;
    expect(() => readSettings(RUNTIME_SETTINGS, { [name]: value })).toThrow(problem);
  });

  it.each([
    ["none", []],
    ["engine", "engine"],
    ["192.0.2.1,2001:db8::1", ["192.0.2.1", "2001:db8::1"]],
  ])("take %s for name servers", (text, nameServers) => {
    const settings = readSettings(RUNTIME_SETTINGS, { MULTINODE_WORKER_NAME_SERVERS: text });
    expect(settings.MULTINODE_WORKER_NAME_SERVERS).toEqual(nameServers);
  });

  it.each([
    ["swarm", "MULTINODE_WORKER_OCI_RUNTIME", "runsc"],
    ["swarm", "MULTINODE_READY_NETWORKS", "4"],
    ["swarm", "MULTINODE_IMAGE_BUILDS", "true"],
    ["swarm", "MULTINODE_BUILD_NETWORK", "none"],
    ["process", "MULTINODE_WORKER_OCI_RUNTIME", "runsc"],
    ["process", "MULTINODE_READY_NETWORKS", "4"],
    ["process", "MULTINODE_DOCKER_SOCKET", "/var/run/docker.sock"],
    ["process", "MULTINODE_WORKER_IMAGE", "worker"],
    ["process", "MULTINODE_WORKER_NETWORK", "workers"],
    ["process", "MULTINODE_WORKER_NAME_SERVERS", "engine"],
  ])("refuse with %s what it has no use for: %s", async (name, setting, value) => {
    const context = { folder: "/", schedulerId: "sch-1", log: createLogger("test", "silent") };
    const open = (more: Record<string, string>) => {
      const env = { MULTINODE_RUNTIME: name, ...more };
      return openRuntime({ ...readSettings(RUNTIME_SETTINGS, env), MULTINODE_SERVICE_TOKEN: "t" }, context);
    };
    expect(() => open({ [setting]: value })).toThrow(`${setting} is set: `);
    if (name === "process") return; // it would use the folder
    const runtime = open({ MULTINODE_DOCKER_SOCKET: "/nobody/listens" });
    expect(runtime.name).toBe(name);
    await runtime.close();
  });

  it("build images on Docker, unless they are told not to", async () => {
    const context = { folder: "/nowhere", schedulerId: "sch-1", log: createLogger("test", "silent") };
    const open = (env: Record<string, string>) =>
      openRuntime({ ...readSettings(RUNTIME_SETTINGS, env), MULTINODE_SERVICE_TOKEN: "token" }, context);
    const docker = { MULTINODE_RUNTIME: "docker", MULTINODE_DOCKER_SOCKET: "/nowhere/docker.sock" };
    const runtimes = [open(docker), open({ ...docker, MULTINODE_IMAGE_BUILDS: "false" })];
    expect(runtimes.map(({ images }) => images !== undefined)).toEqual([true, false]);
    await Promise.all(runtimes.map((runtime) => runtime.close()));
  }, 30_000);

  it("name an installation by what its services share, without telling it", () => {
    const token = "a token of thirty-two characters.";
    expect(installationIdOf(token)).toMatch(/^[0-9a-f]{12}$/);
    expect(installationIdOf(token)).not.toBe(installationIdOf(`${token}.`));
  });
});

// What cluster_up.mjs and cluster_down.mjs share: the compose command, and the folder with the cluster's secrets.

import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseEnv } from "node:util";
import { ROOT } from "./toolchain.mjs";

/** Secrets of the cluster that this checkout runs. Only its owner may read them. */
export const CLUSTER_FOLDER = resolve(process.env.MULTINODE_CLUSTER_FOLDER ?? join(ROOT, ".cluster"));
const ENV_FILE = join(CLUSTER_FOLDER, "env");
/** What the operator sets for every `cluster:up`; the environment goes before. */
const SETTINGS_FILE = join(CLUSTER_FOLDER, "settings");
if (existsSync(SETTINGS_FILE)) process.loadEnvFile(SETTINGS_FILE);
const TLS_FOLDER = join(CLUSTER_FOLDER, "tls");
/** What whoever calls the cluster must trust. */
export const CA_FILE = join(TLS_FOLDER, "ca.crt");
// docker-compose.tls.yml reads it.
process.env.MULTINODE_TLS_FOLDER = TLS_FOLDER;
export const PROJECT = "multinode";
/** Where docker-compose.yml has services look for the gateway. */
const INNER_GATEWAY = "gateway-inner";
const LABEL = "dev.multinode.installation";
const WORKERS_NETWORK = "multinode-workers";
const REMOVAL_BOUND_MS = 600_000;
const FIREWALL = join(ROOT, "deploy/firewall/workers.nft");
/** Programs for root, which Debian keeps off other users' PATH. */
const WITH_SBIN = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** Those of 127.0.0.1 that docker-compose.yml publishes beside MULTINODE_ADDRESS. */
const OWN_PORTS = [7409, 7421, 7422];
/** The public API's, at this machine's end of the workers' network. */
const WORKERS_API_PORT = 7400;

/**
 * The host of MULTINODE_ADDRESS, without the brackets of IPv6. Compose finds out what is wrong with it only after it has ended the gateway that
 * runs. @throws Error that names the setting, its value and its form.
 */
export function hostOf(address, own = ownAddresses()) {
  const [, inBrackets, plain, digits = ""] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? [];
  const isAddress = inBrackets === undefined ? isIP(plain ?? "") === 4 : isIP(inBrackets) === 6;
  const port = Number(digits);
  if (!isAddress || port < 1 || port > 65_535) {
    throw new Error(
      `MULTINODE_ADDRESS is "${address}": must be an IP address of this machine and a port from 1 to 65535, such as 127.0.0.1:7400 or [::1]:7400`,
    );
  }
  const taken = { "127.0.0.1": OWN_PORTS, "0.0.0.0": [...OWN_PORTS, WORKERS_API_PORT] }[plain] ?? [];
  if (taken.includes(port))
    throw new Error(`MULTINODE_ADDRESS is "${address}": the cluster itself uses port ${port} there, so take another`);
  const host = inBrackets ?? plain;
  if (!isLoopbackOrAny(host) && !own.some((each) => isSameAddress(each, host))) {
    throw new Error(
      `MULTINODE_ADDRESS is "${address}": must be an IP address of this machine, which has ${own.join(", ")}`,
    );
  }
  return host;
}

function ownAddresses() {
  return Object.values(networkInterfaces()).flatMap((addresses) => addresses.map(({ address }) => address));
}

/** IPv6 has many spellings. */
function isSameAddress(one, other) {
  const spelled = (address) => new URL(isIP(address) === 6 ? `http://[${address}]` : `http://${address}`).hostname;
  return isIP(one) === isIP(other) && spelled(one) === spelled(other);
}

function isLoopbackOrAny(host) {
  return host.startsWith("127.") || host === "0.0.0.0" || host === "::1" || host === "::";
}

/**
 * What services would refuse when they start, after those of before have ended. @throws Error that names each wrong setting
 */
export async function refuseWrongSettings(hasInternet = false) {
  const built = async (path) => await import(pathToFileURL(join(ROOT, "build/services", path)).href);
  const { COMMON_SETTINGS, PAYLOAD_SETTING, readSettings, RETENTION_SETTING } = await built("platform/config.js");
  const { WORKER_COUNT_SETTINGS } = await built("scheduler/scheduler_settings.js");
  const { refuseIgnored, RUNTIME_SETTINGS } = await built("scheduler/runtime/runtime_settings.js");
  const { MULTINODE_LOG_LEVEL } = COMMON_SETTINGS;
  const { MULTINODE_DOCKER_SOCKET: _, ...runtime } = RUNTIME_SETTINGS; // given to the engine's socket in the container
  const shape = { ...PAYLOAD_SETTING, ...RETENTION_SETTING, ...WORKER_COUNT_SETTINGS, ...runtime, MULTINODE_LOG_LEVEL };
  const named = hasInternet ? { MULTINODE_WORKER_NAME_SERVERS: "engine" } : {};
  refuseIgnored(readSettings(shape, { MULTINODE_RUNTIME: "docker", ...named, ...process.env }));
  const ociRuntime = process.env.MULTINODE_WORKER_OCI_RUNTIME;
  if (ociRuntime === undefined) return;
  const known = Object.keys(JSON.parse(output("docker", ["info", "--format", "{{json .Runtimes}}"])));
  if (known.includes(ociRuntime)) return;
  throw new Error(`MULTINODE_WORKER_OCI_RUNTIME is "${ociRuntime}": the engine has ${known.join(", ")}`);
}

/** @throws Error that says what to do. */
export function refuseWithoutEngine() {
  const { status, error, stderr } = spawnSync("docker", ["version"], { encoding: "utf8" });
  if (error !== undefined) throw new Error("there is no command `docker`: install Docker, then try again");
  if (status === 0) return;
  throw new Error(
    `no Docker engine answers (${stderr.trim()}): start it, and let this user use it; \`docker version\` must work`,
  );
}

/** What is written there and changes nothing, since the compose files do not ask for it. @throws Error that names it. */
export function refuseUnknownSettings() {
  if (!existsSync(SETTINGS_FILE)) return;
  const compose = ["docker-compose.yml", "docker-compose.tls.yml"]
    .map((file) => readFileSync(join(ROOT, file), "utf8"))
    .join();
  // "${NAME…}", and "NAME:" without a value, which is as in the environment.
  const asked = compose.matchAll(/\$\{(MULTINODE_[A-Z_]+)|^\s+(MULTINODE_[A-Z_]+):\s*$/gm);
  const known = new Set([...asked].map(([, inPlace, asIs]) => inPlace ?? asIs));
  const unknown = Object.keys(parseEnv(readFileSync(SETTINGS_FILE, "utf8"))).filter(
    (name) => name.startsWith("MULTINODE_") && !known.has(name),
  );
  if (unknown.length > 0)
    throw new Error(`${SETTINGS_FILE} sets ${unknown.join(", ")}: the cluster has no such setting`);
}

/** Until this process ends nobody else works on the cluster. What holds data folders is not built yet. @throws Error that says who does. */
export function holdCluster() {
  const file = join(CLUSTER_FOLDER, "lock");
  mkdirSync(CLUSTER_FOLDER, { recursive: true, mode: 0o700 });
  for (;;) {
    try {
      writeFileSync(file, `${process.pid}\n`, { flag: "wx", mode: 0o600 });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      const holder = Number(readFileSync(file, "utf8"));
      if (isAlive(holder))
        throw new Error(`process ${holder} is starting or ending this cluster: wait for its end, then try again`);
      rmSync(file, { force: true });
    }
  }
  process.on("exit", () => rmSync(file, { force: true }));
}

function isAlive(pid) {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Where schedulers find the engine that this machine's `docker` speaks to. @throws Error that says what to set. */
export function engineSocket() {
  const host = process.env.DOCKER_HOST ?? "unix:///var/run/docker.sock";
  const socket = process.env.MULTINODE_DOCKER_SOCKET ?? (host.startsWith("unix://") ? host.slice(7) : undefined);
  if (socket !== undefined && existsSync(socket)) return socket;
  const found = socket === undefined ? `DOCKER_HOST is ${host}` : `${socket} does not exist`;
  throw new Error(`the engine's socket is not known (${found}): set MULTINODE_DOCKER_SOCKET to its path`);
}

/** Without its secrets, what is left of a cluster can be neither used nor taken away. @throws Error that says what to do. */
export function refuseOthersRemains() {
  if (hasSecrets()) return;
  const filter = ["--filter", `label=com.docker.compose.project=${PROJECT}`];
  const found = [
    output("docker", ["ps", "-a", "--format", "{{.Names}}", ...filter]),
    output("docker", ["volume", "ls", "--format", "{{.Name}}", ...filter]),
  ].flatMap((text) => text.split("\n").filter(Boolean));
  if (found.length === 0) return;
  throw new Error(
    `this machine has a cluster of another checkout, or of secrets that are gone from ${CLUSTER_FOLDER}: end it there by ` +
      `npm run cluster:down, or remove it with \`docker rm -f\` and \`docker volume rm\`: ${found.join(" ")}`,
  );
}

/** A network stays as it was made. @throws Error that says what to do. */
export function refuseOtherNetwork(hasInternet) {
  const { status, stdout } = spawnSync("docker", ["network", "inspect", "-f", "{{.Internal}}", WORKERS_NETWORK], {
    encoding: "utf8",
  });
  if (status !== 0 || stdout.trim() === String(!hasInternet)) return;
  throw new Error(
    `the workers of this cluster have ${hasInternet ? "no" : "a"} way to the internet: to change that, ` +
      "npm run cluster:down -- --keep-data first, which ends what runs",
  );
}

/** What keeps workers that reach the internet from everything else. @throws Error that says what to do. */
export function loadFirewall() {
  const problem = firewallProblem();
  if (problem === undefined) return;
  throw new Error(
    `the firewall for workers that reach the internet was not loaded (${problem}): run this as root, ` +
      `with nftables installed; or load ${FIREWALL}, or one of your own, as root, and say --own-firewall`,
  );
}

/** Loads the firewall for workers. Answers why it was not loaded, where it was not. */
export function firewallProblem() {
  const { status, stderr, error } = spawnSync("nft", ["-f", FIREWALL], { encoding: "utf8", env: WITH_SBIN });
  return status === 0 ? undefined : (stderr || error?.message || "").trim();
}

/** Where it was loaded by this user. */
export function removeFirewall() {
  spawnSync("nft", ["delete", "table", "inet", "multinode_workers"], { stdio: "ignore", env: WITH_SBIN });
}

/** "docker compose" where it is there, else "docker-compose". @throws Error that says what is missing. */
export function composeCommand() {
  const files = ["docker-compose.yml", ...(usesTls() ? ["docker-compose.tls.yml"] : [])];
  const base = ["--env-file", ENV_FILE, "-p", PROJECT, ...files.flatMap((file) => ["-f", join(ROOT, file)])];
  if (spawnSync("docker", ["compose", "version"], { stdio: "ignore" }).status === 0)
    return ["docker", "compose", ...base];
  if (spawnSync("docker-compose", ["version"], { stdio: "ignore" }).status === 0) return ["docker-compose", ...base];
  throw new Error("Compose is missing: install docker-compose, or Docker's compose plugin");
}

/** Made once, and kept until the cluster is taken away: the stores remember them. */
export function ensureSecrets() {
  if (existsSync(ENV_FILE)) return;
  mkdirSync(CLUSTER_FOLDER, { recursive: true, mode: 0o700 });
  // NATS reads its passwords as values of its configuration: they begin with a letter.
  const secret = () => `s${randomBytes(24).toString("hex")}`;
  const names = [
    "SERVICE_TOKEN",
    "POSTGRES_PASSWORD",
    ...["REGISTRY", "INVOCATION", "SCHEDULER", "OBSERVER"].map((user) => `NATS_${user}_PASSWORD`),
  ];
  writeFileSync(ENV_FILE, names.map((name) => `MULTINODE_${name}=${secret()}\n`).join(""), { mode: 0o600 });
}

/** Whether the cluster of this checkout was started with TLS. */
export function usesTls() {
  return existsSync(CA_FILE);
}

/**
 * Certificates for every service, anew; the authority stays. Each has a folder with what it needs. Services run as nobody, so
 * what keeps the keys is CLUSTER_FOLDER, which only its owner may enter.
 */
export function ensureCertificates(hosts) {
  const made = join(TLS_FOLDER, "made");
  output(process.execPath, [join(ROOT, "scripts/make_certs.mjs"), made, ...new Set([INNER_GATEWAY, ...hosts])]);
  for (const name of ["registry", "invocation", "scheduler", "gateway", "nats", "worker-gate"]) {
    const folder = join(TLS_FOLDER, name);
    mkdirSync(folder, { recursive: true });
    for (const file of ["ca.crt", `${name}.crt`, `${name}.key`]) {
      if (!existsSync(join(made, file))) continue; // the gate for workers shows none
      copyFileSync(join(made, file), join(folder, file));
      chmodSync(join(folder, file), 0o644);
    }
  }
  copyFileSync(join(made, "ca.crt"), CA_FILE);
}

/**
 * What has those that do not look for a changed configuration and renewed certificates by themselves take them, without a word of it to their connections. Not by
 * `docker kill`: a container that is sent any signal in that way is not started again when it fails (moby issue 41302).
 */
const RELOADS = {
  gateway: ["nginx", "-c", "/etc/multinode-gateway/nginx.conf", "-s", "reload"],
  "worker-gate": ["nginx", "-c", "/etc/multinode-gateway/worker_gate.conf", "-s", "reload"],
  nats: ["nats-server", "--signal", "reload=1"],
};

/** The containers that run and have their configuration from their start, with their services. */
export function runningHolders() {
  const filters = [`label=com.docker.compose.project=${PROJECT}`, "status=running"];
  const format = '{{.ID}} {{.Label "com.docker.compose.service"}}';
  return output("docker", ["ps", "--format", format, ...filters.flatMap((filter) => ["--filter", filter])])
    .split("\n")
    .filter((line) => line.split(" ")[1] in RELOADS);
}

/** For those that were not started since. @throws Error that says which does not take them. */
export function reloadHolders(earlierHolders) {
  for (const line of runningHolders().filter((holder) => earlierHolders.includes(holder))) {
    const [id, service] = line.split(" ");
    output("docker", ["exec", id, ...RELOADS[service]]);
  }
}

/** From now on the cluster speaks plain text. The authority stays for the next time, so that whoever trusts it goes on to. */
export function leaveTls() {
  rmSync(CA_FILE, { force: true });
}

/** All but what the operator has written there. */
export function removeSecrets() {
  if (!existsSync(CLUSTER_FOLDER)) return;
  const made = readdirSync(CLUSTER_FOLDER).filter((name) => join(CLUSTER_FOLDER, name) !== SETTINGS_FILE);
  for (const name of made) rmSync(join(CLUSTER_FOLDER, name), { recursive: true });
  if (!existsSync(SETTINGS_FILE)) rmSync(CLUSTER_FOLDER, { recursive: true });
}

export function hasSecrets() {
  return existsSync(ENV_FILE);
}

/** Runs a command and answers what it printed. @throws Error with what it said. */
export function output(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    cwd: ROOT,
    timeout: 120_000,
    ...options,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${(stderr || error?.message || "").trim()}`);
  return stdout.trim();
}

/** Containers and networks that schedulers made, whatever became of these. */
export async function removeWorkers() {
  const lines = (text) => text.split("\n").filter(Boolean);
  const filter = ["--filter", `label=${LABEL}=${await installationId()}`];
  const containers = lines(output("docker", ["ps", "-aq", ...filter]));
  if (containers.length > 0) output("docker", ["rm", "-f", "-v", ...containers]);
  for (const network of lines(output("docker", ["network", "ls", "-q", ...filter])))
    output("docker", ["network", "rm", network]);
  return containers.length;
}

/** Images that schedulers built of projects' Dockerfiles. Nothing else tells which they are once the secrets are gone. */
export async function removeProjectImages() {
  const repository = `multinode-project-${await installationId()}`;
  const images = output("docker", ["images", "--format", "{{.Repository}}:{{.Tag}}", repository]).split("\n");
  if (images[0] !== "") output("docker", ["rmi", ...images], { timeout: REMOVAL_BOUND_MS });
}

/** The image that has a name now; undefined: none has. */
export function imageOf(name) {
  const { status, stdout } = spawnSync("docker", ["image", "inspect", "-f", "{{.Id}}", name], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** An image that had a name until another one was given it. One that has further names, or that a container still needs, stays. */
export function removeFormerImage(id, name) {
  if (id === undefined || imageOf(name) === id) return;
  const { stdout } = spawnSync("docker", ["image", "inspect", "-f", "{{len .RepoTags}}", id], { encoding: "utf8" });
  if (stdout.trim() === "0") spawnSync("docker", ["rmi", id], { stdio: "ignore" });
}

/** As schedulers make it, so that there is one place for it. */
async function installationId() {
  const token = /^MULTINODE_SERVICE_TOKEN=(.*)$/m.exec(readFileSync(ENV_FILE, "utf8"))?.[1] ?? "";
  const built = join(ROOT, "build/services/scheduler/runtime/runtime_settings.js");
  if (!existsSync(built)) throw new Error("the program is not built: npm run build");
  const { installationIdOf } = await import(pathToFileURL(built).href);
  return installationIdOf(token);
}

// `npm run cluster:up [-- --json] [--insecure] [--internet] [--own-firewall]`: makes what the cluster of docker-compose.yml needs, starts it, waits until all of it is healthy, and says how to use it.
import { spawn, spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  CA_FILE,
  composeCommand,
  engineSocket,
  ensureCertificates,
  ensureSecrets,
  firewallProblem,
  holdCluster,
  hostOf,
  imageOf,
  leaveTls,
  loadFirewall,
  output,
  PROJECT,
  refuseOtherNetwork,
  refuseOthersRemains,
  refuseUnknownSettings,
  refuseWithoutEngine,
  refuseWrongSettings,
  reloadHolders,
  removeFormerImage,
  runningHolders,
  usesTls,
} from "./cluster.mjs";
import { ROOT, run, runScript, seconds } from "./toolchain.mjs";

const BASE_IMAGE = "node:24-slim";
/** Made from this machine's own Node where no registry is reached. */
const OWN_BASE_IMAGE = "multinode/node:24";
const PUBLIC_IMAGES = {
  MULTINODE_POSTGRES_IMAGE: "postgres:17-alpine",
  MULTINODE_NATS_IMAGE: "nats:2-alpine",
  MULTINODE_NGINX_IMAGE: "nginx:1-alpine",
};
const WORKER_IMAGE = process.env.MULTINODE_WORKER_IMAGE ?? "multinode/worker:latest";
const SERVICES_IMAGE = process.env.MULTINODE_SERVICES_IMAGE ?? "multinode/services:latest";
const PULL_BOUND_MS = 120_000;
const HEALTHY_BOUND_MS = 180_000;
const LOOK_INTERVAL_MS = 500;
/** Looks at which one was found restarting. */
const MOST_FAILURES = 20;
/** The image has no more than node for it. */
const READ_KEY = 'process.stdout.write(require("node:fs").readFileSync("/data/api-key","utf8"))';

const NO_FIREWALL =
  "the firewall for workers was not loaded: they reach what this machine opens to everybody, and one may take many connections; " +
  "run this as root, with nftables installed";
const HALF_UP =
  "What has started goes on running: mend this and run npm run cluster:up again, or end it and keep what is stored: " +
  "npm run cluster:down -- --keep-data";
const COMMAND_LINE = join(ROOT, "sdk/typescript/dist/cli.js");
const ASK_BOUND_MS = 30_000;

const OPTIONS = ["--json", "--insecure", "--internet", "--own-firewall"];

await runScript(import.meta.url, async (args) => {
  const isForPrograms = args.includes("--json");
  const hasInternet = args.includes("--internet");
  const startedAt = performance.now();
  const unknown = args.filter((arg) => !OPTIONS.includes(arg));
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(" ")}; known are ${OPTIONS.join(" ")}`);
  const address = process.env.MULTINODE_ADDRESS ?? "127.0.0.1:7400";
  const host = hostOf(address);
  refuseUnknownSettings();
  refuseWithoutEngine();
  holdCluster();
  const socket = engineSocket();
  refuseOthersRemains();
  refuseOtherNetwork(hasInternet);
  const hasOwnFirewall = args.includes("--own-firewall");
  if (hasInternet && !hasOwnFirewall) loadFirewall();
  const unbounded = hasInternet || hasOwnFirewall ? undefined : firewallProblem();
  ensureSecrets();
  const earlierHolders = runningHolders();
  if (args.includes("--insecure")) leaveTls();
  else ensureCertificates([hostname(), host]);
  const compose = composeCommand();
  await step("the program", () => script("build.mjs"));
  await refuseWrongSettings(hasInternet);
  const formerImages = [SERVICES_IMAGE, WORKER_IMAGE].map((name) => ({ name, id: imageOf(name) }));
  await step("the images", makeImages);
  try {
    await step("the cluster", () => start(compose, socket, hasInternet));
    // Services look for their certificates every minute; Compose leaves the others as they are.
    reloadHolders(earlierHolders);
    await step("its health", () => untilHealthy());
  } catch (error) {
    throw new Error(`${error.message}\n${HALF_UP}`, { cause: error });
  }
  for (const { id, name } of formerImages) removeFormerImage(id, name);
  const firstKey = output(compose[0], [...compose.slice(1), "exec", "-T", "registry", "node", "-e", READ_KEY]);
  // Node warns of certificates that are asked for by an IP address.
  const url = usesTls() ? `https://${address.replace(/^127\.0\.0\.1:/, "localhost:")}` : `http://${address}`;
  const apiKey = isRefused(url, firstKey) ? null : firstKey;
  if (isForPrograms) {
    console.log(JSON.stringify({ url, apiKey, ...(usesTls() ? { ca: CA_FILE } : {}) }));
    return 0;
  }
  console.log(
    [
      "",
      `The cluster is up, ${seconds(performance.now() - startedAt)} after it was asked for.`,
      "",
      `  address  ${url}`,
      `  API key  ${apiKey ?? "the first key was revoked: log in with one of yours"}`,
      "",
      ...(unbounded === undefined ? [] : [`  note     ${NO_FIREWALL} (${unbounded})`, ""]),
      "Next:",
      ...(usesTls() ? [`  export NODE_EXTRA_CA_CERTS=${CA_FILE}`] : []),
      `  npx multinode login --api-url ${url}    # asks for the key, and keeps both`,
      "  npx multinode deploy examples/tsp/tasks --project-name tsp",
      "  npm run cluster:down    # ends it and removes all that it stored",
    ].join("\n"),
  );
  return 0;
});

/** The file keeps the first key also after it was revoked. Whatever else may be wrong is said to who uses the key. */
function isRefused(url, apiKey) {
  const env = { ...process.env, MULTINODE_API_URL: url, MULTINODE_API_KEY: apiKey };
  // The first is ignored where the second is set.
  if (usesTls()) Object.assign(env, { NODE_EXTRA_CA_CERTS: CA_FILE, GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: CA_FILE });
  const options = { encoding: "utf8", env, timeout: ASK_BOUND_MS };
  const { stderr } = spawnSync(process.execPath, [COMMAND_LINE, "list", "--json"], options);
  return stderr.includes('"ApiKeyIsInvalid"');
}

async function step(name, work) {
  const startedAt = performance.now();
  const detail = await work();
  console.log(`cluster: ${name}${detail === undefined ? "" : `, ${detail}`} ${seconds(performance.now() - startedAt)}`);
}

async function script(name, args = [], options = {}) {
  const { ok, detail } = await run("node", [`scripts/${name}`, ...args], { boundMs: 600_000, ...options });
  if (!ok) throw new Error(`${name} failed (${detail})`);
}

async function makeImage(name, ...args) {
  await script(name, args, { isQuiet: true });
}

async function makeImages() {
  let detail;
  let base = BASE_IMAGE;
  if (!(await isThere(BASE_IMAGE))) {
    base = OWN_BASE_IMAGE;
    detail = "the base made here, since no image registry is reached";
    await makeImage("make_base_image.mjs", OWN_BASE_IMAGE);
  }
  await makeImage("make_worker_image.mjs", WORKER_IMAGE, base);
  await makeImage("make_service_image.mjs", SERVICES_IMAGE, base);
  for (const [setting, image] of Object.entries(PUBLIC_IMAGES)) {
    if (await isThere(process.env[setting] ?? image)) continue;
    if (process.env[setting] !== undefined)
      throw new Error(`${setting}: the image ${process.env[setting]} cannot be pulled`);
    await makeImage("make_standin_images.mjs");
    return "public ones made of Debian's packages, since no image registry is reached";
  }
  return detail;
}

/** Here, or pulled. */
async function isThere(image) {
  try {
    output("docker", ["image", "inspect", image]);
    return true;
  } catch {
    console.log(`cluster: pulling ${image}`);
    return await new Promise((done) => {
      const child = spawn("docker", ["pull", "--quiet", image], { stdio: "ignore", timeout: PULL_BOUND_MS });
      child.once("error", () => done(false));
      child.once("exit", (code) => done(code === 0));
    });
  }
}

async function start([command, ...args], socket, hasInternet) {
  const env = {
    MULTINODE_DOCKER_SOCKET: socket,
    MULTINODE_DOCKER_GROUP: String(statSync(socket).gid),
    // Whatever the environment says: a way to the internet is opened together with the firewall only.
    MULTINODE_WORKERS_INTERNAL: String(!hasInternet),
  };
  if (hasInternet) env.MULTINODE_WORKER_NAME_SERVERS = process.env.MULTINODE_WORKER_NAME_SERVERS ?? "engine";
  // Those of an earlier build are replaced.
  const { ok, detail } = await run(command, [...args, "up", "-d", "--remove-orphans"], { boundMs: 300_000, env });
  if (!ok) throw new Error(`${command} up failed (${detail}), for what it says above`);
}

async function untilHealthy() {
  const failing = new Map();
  const deadline = performance.now() + HEALTHY_BOUND_MS;
  for (;;) {
    const waiting = unhealthy();
    if (waiting.length === 0) return;
    // One that ends again and again will not get well by waiting.
    for (const line of waiting.filter((text) => text.includes(" restarting "))) {
      failing.set(line, (failing.get(line) ?? 0) + 1);
      if (failing.get(line) > MOST_FAILURES)
        throw new Error(`${line}: it does not start; \`docker logs ${line.split(" ")[0]}\` tells why`);
    }
    if (performance.now() > deadline) {
      throw new Error(
        `these are not healthy after ${seconds(HEALTHY_BOUND_MS)}: ${waiting.join(", ")}; \`docker logs <name>\` tells why`,
      );
    }
    await delay(LOOK_INTERVAL_MS);
  }
}

function unhealthy() {
  const ids = output("docker", ["ps", "-aq", "--filter", `label=com.docker.compose.project=${PROJECT}`]).split("\n");
  const format = "{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}";
  return output("docker", ["inspect", "--format", format, ...ids.filter(Boolean)])
    .split("\n")
    .filter((line) => !line.endsWith(" running healthy"))
    .map((line) => line.slice(1));
}

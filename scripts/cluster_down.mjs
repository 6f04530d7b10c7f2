// `npm run cluster:down`: ends the cluster and removes all that it made and stored but the images of services, stores and workers. `-- --keep-data` keeps what is stored,
// and the secrets that belong to it, for the next `npm run cluster:up`.
import {
  composeCommand,
  hasSecrets,
  holdCluster,
  output,
  PROJECT,
  refuseWithoutEngine,
  removeFirewall,
  removeProjectImages,
  removeSecrets,
  removeWorkers,
} from "./cluster.mjs";
import { run, runScript } from "./toolchain.mjs";

const ATTEMPTS = 4;

await runScript(import.meta.url, async (args) => {
  const keepsData = args.includes("--keep-data");
  const unknown = args.filter((arg) => arg !== "--keep-data");
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(" ")}; only --keep-data is known`);
  if (!hasSecrets()) {
    console.log("cluster: there is none of this checkout; npm run cluster:up starts one");
    return 0;
  }
  refuseWithoutEngine();
  holdCluster();
  const [command, ...base] = composeCommand();
  // Schedulers first, while what they tell is still heard: they end their workers.
  await run(command, [...base, "stop", "-t", "30", "scheduler-1", "scheduler-2"]);
  const down = [...base, "down", "--remove-orphans", ...(keepsData ? [] : ["--volumes"])];
  for (let attempt = 1; ; attempt += 1) {
    // The engine may still carry out what a scheduler asked for last, and a network with a container in it cannot be removed.
    await removeWorkers();
    const { ok, detail } = await run(command, down);
    if (ok && (await removeWorkers()) === 0) break;
    if (attempt === ATTEMPTS)
      throw new Error(miscountedNetworks() ?? `${command} down failed (${ok ? "containers are left" : detail})`);
  }
  removeFirewall();
  if (!keepsData) {
    await removeProjectImages();
    removeSecrets();
  }
  console.log(`cluster: down${keepsData ? "; what it stored is kept" : ""}`);
  return 0;
});

/** Engine 20.10 now and then counts more containers in a network than are in it, and then keeps it until it is started again. */
function miscountedNetworks() {
  const filter = ["--filter", `label=com.docker.compose.project=${PROJECT}`];
  if (output("docker", ["ps", "-aq", ...filter]) !== "") return undefined;
  const names = output("docker", ["network", "ls", "--format", "{{.Name}}", ...filter])
    .split("\n")
    .filter(Boolean);
  const empty = names.filter(
    (name) => output("docker", ["network", "inspect", "-f", "{{len .Containers}}", name]) === "0",
  );
  if (empty.length === 0) return undefined;
  return (
    `the engine takes the network ${empty.join(", ")} for used, but nothing is in it (moby issue 43286): ` +
    "restart the engine, then run npm run cluster:down again"
  );
}

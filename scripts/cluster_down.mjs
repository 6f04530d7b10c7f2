// `npm run cluster:down`: ends the cluster and removes all that it made and stored but its images. `-- --keep-data` keeps what is stored,
// and the secrets that belong to it, for the next `npm run cluster:up`.
import { rmSync } from "node:fs";
import { CLUSTER_FOLDER, composeCommand, hasSecrets, removeWorkers } from "./cluster.mjs";
import { run, runScript } from "./toolchain.mjs";

await runScript(import.meta.url, async (args) => {
  const keepsData = args.includes("--keep-data");
  const unknown = args.filter((arg) => arg !== "--keep-data");
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(" ")}; only --keep-data is known`);
  const [command, ...base] = composeCommand();
  if (!hasSecrets()) {
    console.log("cluster: there is none of this checkout");
    return 0;
  }
  // Schedulers first, while what they tell is still heard: they end their workers.
  await run(command, [...base, "stop", "-t", "30", "scheduler-1", "scheduler-2"]);
  await removeWorkers();
  const { ok, detail } = await run(command, [...base, "down", "--remove-orphans", ...(keepsData ? [] : ["--volumes"])]);
  if (!ok) throw new Error(`${command} down failed (${detail})`);
  if (!keepsData) rmSync(CLUSTER_FOLDER, { recursive: true, force: true });
  console.log(`cluster: down${keepsData ? "; what it stored is kept" : ""}`);
  return 0;
});

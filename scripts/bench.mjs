// `npm run bench`, `npm run bench:docker`: builds, installs what the yardsticks need, and measures. Arguments are the program's.
import { installNeeds } from "./machine_needs.mjs";
import { BENCHES } from "./suites.mjs";
import { run, runScript } from "./toolchain.mjs";

const BOUND_MS = 60 * 60 * 1_000;

await runScript(import.meta.url, async ([name, ...args]) => {
  const bench = BENCHES[name];
  if (bench === undefined) throw new Error(`the benchmarks are ${Object.keys(BENCHES).join(", ")}`);
  const built = await run("node", ["scripts/build.mjs"], { isQuiet: true });
  if (!built.ok) return 1;
  await installNeeds([bench]);
  const [command, ...rest] = [...bench.within, ...bench.command, ...args];
  const { ok, detail } = await run(command, rest, { boundMs: BOUND_MS });
  // By its exit status the program has said what is wrong.
  if (!ok && !detail.startsWith("exit ")) console.error(`${name}: ${detail}`);
  return ok ? 0 : 1;
});

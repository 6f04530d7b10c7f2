// What suites and benchmarks need of the machine beside Node: told by a probe, and brought by Debian's packages where that is possible.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { run } from "./toolchain.mjs";

const APT_BOUND_MS = 300_000;

/** Installs the missing packages if this is root on Debian, and says so. */
export async function installNeeds(suites) {
  const packages = [...new Set(suites.flatMap(missingOf).flatMap((need) => need.debian ?? []))];
  if (packages.length === 0 || !canInstall()) return;
  console.log(`Installing the Debian packages that are needed: ${packages.join(" ")}`);
  const apt = (...args) =>
    run("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=120", ...args], {
      boundMs: APT_BOUND_MS,
      env: { DEBIAN_FRONTEND: "noninteractive" },
    });
  await apt("update");
  const { ok, detail } = await apt("install", "-y", "--no-install-recommends", ...packages);
  if (!ok) console.log(`apt-get install failed (${detail}).`);
}

/** Empty if the suite can run here. */
export function missingOf(suite) {
  return suite.needs.filter(
    ({ probe: [command, ...args] }) => spawnSync(command, args, { stdio: "ignore", timeout: 20_000 }).status !== 0,
  );
}

function canInstall() {
  return existsSync("/etc/debian_version") && process.getuid?.() === 0;
}

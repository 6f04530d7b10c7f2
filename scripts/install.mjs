// Installs the npm dependencies, when what is installed is not what package-lock.json says.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** `node` is the project's own node binary, which the package of that name fetches when it is installed. */
export async function installIfNeeded(root, node) {
  if (existsSync(node) && isCurrent(root)) return;
  console.log("Installing the npm dependencies (npm ci; about 20 s on a new machine) …");
  const startedAt = performance.now();
  await npmCi(root);
  if (!existsSync(node))
    throw new Error("npm ci ended well but brought no Node 24: was the install script of the package `node` refused?");
  console.log(`Installed in ${((performance.now() - startedAt) / 1000).toFixed(1)} s.`);
}

/** npm keeps a list of what it installed beside it. Packages for other platforms are in the lock file but not in that list. */
function isCurrent(root) {
  const installedList = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installedList)) return false;
  const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(installedList, "utf8")).packages;
  return Object.entries(wanted)
    .filter(([path, entry]) => path.startsWith("node_modules/") && !entry.optional && !entry.link)
    .every(([path, entry]) => installed[path]?.version === entry.version);
}

function npmCi(root) {
  return new Promise((done, fail) => {
    const npm = spawn("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: root, stdio: "inherit" });
    npm.once("error", (error) => fail(new Error(`npm could not be started: ${error.message}`)));
    npm.once("exit", (code) =>
      code === 0 ? done() : fail(new Error(`npm ci failed (exit ${code}); its messages are above.`)),
    );
  });
}

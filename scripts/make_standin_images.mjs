// Makes stand-ins for the public images of docker-compose.yml from the programs of this machine's Debian packages, under the same
// names, where no image registry is reached: PostgreSQL, NATS, nginx. Needs Debian and root. DOCKER_HOST decides the engine.
// Usage: make_standin_images.mjs
import { execFileSync, spawn } from "node:child_process";
import { existsSync, lstatSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, run, runScript } from "./toolchain.mjs";

/** Image → the Debian packages that bring its programs, and how it starts. */
const IMAGES = {
  "postgres:17-alpine": {
    packages: ["postgresql-15", "util-linux", "coreutils", "dash"],
    files: { "postgres.sh": "/entrypoint.sh" },
    changes: ['ENTRYPOINT ["/bin/sh", "/entrypoint.sh"]', "ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin"],
  },
  "nats:2-alpine": { packages: ["nats-server"], files: {}, changes: ['ENTRYPOINT ["/usr/sbin/nats-server"]'] },
  "nginx:1-alpine": { packages: ["nginx-light", "nginx"], files: {}, changes: ["ENV PATH=/usr/sbin:/usr/bin"] },
};

/** What no program needs. */
const LEFT_OUT =
  /^\/usr\/share\/(doc|man|info|locale|lintian|bash-completion|perl)\/|^\/usr\/lib\/(llvm|x86_64-linux-gnu\/(perl|libLLVM))|^\/boot\//;
/** The usual links into /usr. */
const MERGED = ["/bin", "/sbin", "/lib", "/lib64"];
/** Made by packages' scripts, and so in none of their lists. */
const ACCOUNTS = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];
const BOUND_MS = 180_000;

await runScript(import.meta.url, async () => {
  for (const [tag, image] of Object.entries(IMAGES)) {
    await makeImage(tag, image);
    console.log(tag);
  }
  return 0;
});

async function makeImage(tag, { packages, files, changes }) {
  const folder = mkdtempSync(join(tmpdir(), "multinode-standin-"));
  try {
    const list = join(folder, "list");
    const paths = [...MERGED.filter(existsSync), ...ACCOUNTS, ...filesOf(closureOf(packages))];
    writeFileSync(list, [...new Set(paths)].map((path) => path.slice(1)).join("\n"));
    await importImage(tag, list, folder, changes);
    if (Object.keys(files).length > 0) await addFiles(tag, files, changes);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The packages that are installed, with all that they depend on. */
function closureOf(packages) {
  const options = ["suggests", "recommends", "conflicts", "breaks", "replaces", "enhances"].map(
    (kind) => `--no-${kind}`,
  );
  const known = packages.filter((name) => isInstalled(name));
  if (known.length === 0)
    throw new Error(`none of ${packages.join(", ")} is installed: apt-get install ${packages[0]}`);
  const text = execFileSync("apt-cache", ["depends", "--recurse", "--installed", ...options, ...known], {
    encoding: "utf8",
  });
  return [...new Set(text.split("\n").filter((line) => /^[a-z0-9]/.test(line)))].filter(isInstalled);
}

function isInstalled(name) {
  try {
    return execFileSync("dpkg-query", ["-W", "-f", "${Status}", name], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).includes("ok installed");
  } catch {
    return false;
  }
}

function filesOf(packages) {
  const text = execFileSync("dpkg-query", ["-L", ...packages], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  return text
    .split("\n")
    .filter((path) => path.startsWith("/") && path !== "/." && !LEFT_OUT.test(path) && exists(path))
    .map((path) => (MERGED.includes(`/${path.split("/")[1]}`) ? `/usr${path}` : path))
    .filter((path) => !MERGED.some((link) => path === `/usr${link}`));
}

function exists(path) {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

async function importImage(tag, list, folder, changes) {
  const tarOptions = ["--create", "--no-recursion", "--numeric-owner", "--ignore-failed-read", "-C", "/", "-T", list];
  const tar = spawn("tar", tarOptions, { stdio: ["ignore", "pipe", "inherit"] });
  const docker = spawn("docker", ["import", ...changes.flatMap((change) => ["-c", change]), "-", tag], {
    stdio: [tar.stdout, "ignore", "inherit"],
    timeout: BOUND_MS,
    cwd: folder,
  });
  const code = await new Promise((done, fail) => {
    docker.once("error", fail);
    docker.once("exit", done);
  });
  if (code !== 0) throw new Error(`docker import of ${tag} failed (${code})`);
}

/** Files of this repository on top. */
async function addFiles(tag, files, changes) {
  const copies = Object.entries(files).map(([from, to]) => `COPY ${from} ${to}`);
  const folder = mkdtempSync(join(tmpdir(), "multinode-standin-"));
  const file = join(folder, "Dockerfile");
  writeFileSync(file, [`FROM ${tag}`, ...copies, ...changes, ""].join("\n"));
  const { ok, detail } = await run(
    "docker",
    ["build", "--quiet", "--network", "none", "-t", tag, "-f", file, join(ROOT, "deploy/standins")],
    {
      env: { DOCKER_BUILDKIT: "0" },
    },
  );
  rmSync(folder, { recursive: true, force: true });
  if (!ok) throw new Error(`the image ${tag} could not be built: ${detail}`);
}

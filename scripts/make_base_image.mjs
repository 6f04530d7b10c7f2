// Makes the base of the worker image from this machine: the project's own Node, the shared libraries that it needs, a shell and CA
// certificates. For machines that reach no image registry; elsewhere the base is the public node:24-slim.
// Usage: make_base_image.mjs [tag], default multinode/node:24. The engine is that of `docker`, so DOCKER_HOST decides.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runScript } from "./toolchain.mjs";

const DEFAULT_TAG = "multinode/node:24";
const PATH = "/usr/local/bin:/usr/bin:/bin";
/** What images and containers run, beside node. `ls` and `test` are used by deploy/worker/Dockerfile. */
const PROGRAMS = ["sh", "sleep", "mkdir", "timeout", "ls", "test", "cat", "env", "true", "setpriv"];
/** Loaded by name at run time, so that no program lists them: DNS and names of users. */
const NAME_SERVICE = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];
const CERTIFICATES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
const BOUND_MS = 120_000;
/** What an image was made of: with the same it is not made again, and what stands on it stays as it is. */
const LABEL = "dev.multinode.made-of";

await runScript(import.meta.url, async ([tag = DEFAULT_TAG]) => {
  const source = readFileSync(fileURLToPath(import.meta.url));
  const madeOf = createHash("sha256").update(`${process.version} ${process.arch}\n`).update(source).digest("hex");
  if (labelOf(tag) === madeOf) return 0;
  const root = mkdtempSync(join(tmpdir(), "multinode-base-"));
  try {
    fill(root);
    await importImage(root, tag, madeOf);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  console.log(tag);
  return 0;
});

function labelOf(tag) {
  const format = `{{index .Config.Labels "${LABEL}"}}`;
  return spawnSync("docker", ["image", "inspect", "--format", format, tag], { encoding: "utf8" }).stdout?.trim();
}

function fill(root) {
  for (const folder of ["tmp", "etc/ssl/certs", "usr/local/bin", "usr/bin", "bin", "root"])
    mkdirSync(join(root, folder), { recursive: true });
  chmodSync(join(root, "tmp"), 0o1777);
  addProgram(root, realpathSync(process.execPath), "/usr/local/bin/node");
  // Without its symbols it is a seventh smaller; where there is no `strip` it works as well.
  spawnSync("strip", [join(root, "usr/local/bin/node")], { stdio: "ignore" });
  for (const name of PROGRAMS) addProgram(root, realpathSync(which(name)), `/bin/${name}`);
  const libc = librariesOf(process.execPath).find((file) => file.includes("libc.so")) ?? "/lib/libc.so";
  for (const name of NAME_SERVICE) if (existsSync(join(dirname(libc), name))) addFile(root, join(dirname(libc), name));
  const certificates = CERTIFICATES.find((file) => existsSync(file));
  if (certificates !== undefined) copyFileSync(certificates, join(root, "etc/ssl/certs/ca-certificates.crt"));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
  writeFileSync(join(root, "etc/nsswitch.conf"), "hosts: files dns\n");
}

function which(name) {
  return execFileSync("sh", ["-c", `PATH=${PATH} command -v "$0" || exit 1`, name], { encoding: "utf8" })
    .trim()
    .replace(/^(?!\/)/, "/usr/bin/");
}

function addProgram(root, source, target) {
  copyFileSync(source, join(root, target));
  chmodSync(join(root, target), 0o755);
  for (const library of librariesOf(source)) addFile(root, library);
}

function addFile(root, file) {
  const target = join(root, file);
  if (existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  cpSync(realpathSync(file), target);
}

/** As the loader finds them, itself included. Empty for a static program. */
function librariesOf(program) {
  const { stdout, status } = spawnSync("ldd", [program], { encoding: "utf8" });
  return status === 0 ? [...stdout.matchAll(/(?:=> |^\s+)(\/\S+)/gm)].map(([, file]) => file) : [];
}

async function importImage(root, tag, madeOf) {
  const options = { stdio: ["ignore", "pipe", "inherit"] };
  const tar = spawn("tar", ["-C", root, "--numeric-owner", "--owner=0", "--group=0", "-c", "."], options);
  const changes = [
    `ENV PATH=${PATH}`,
    "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    `LABEL ${LABEL}=${madeOf}`,
  ].flatMap((change) => ["-c", change]);
  const docker = spawn("docker", ["import", ...changes, "-", tag], {
    stdio: [tar.stdout, "ignore", "inherit"],
    timeout: BOUND_MS,
  });
  const code = await new Promise((done, fail) => {
    docker.once("error", fail);
    docker.once("exit", done);
  });
  if (code !== 0) throw new Error(`docker import of the base image failed (${code})`);
}

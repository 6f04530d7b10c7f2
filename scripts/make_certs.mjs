// Makes an authority and certificates for development: `node scripts/make_certs.mjs FOLDER [HOST ...]`.
// Each of NAMES gets NAME.crt and NAME.key in the folder, good for the host NAME, its replicas NAME-1 to NAME-9, this machine, and
// each HOST (a name or an IP address). An authority that is in the folder already (ca.crt, ca.key) is used again; what else is there is made anew.
// Needs the openssl command, version 3.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NAMES = ["registry", "invocation", "scheduler", "gateway", "nats"];
const AUTHORITY_DAYS = "3650";
const DAYS = "365";
const MOST_REPLICAS = 9;
const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

const [folder, ...hosts] = process.argv.slice(2);
try {
  makeCertificates(folder, hosts);
  console.log(`${folder}: ca.crt, and NAME.crt and NAME.key of ${NAMES.join(", ")}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}

function makeCertificates(folder, hosts) {
  if (folder === undefined || folder.startsWith("-"))
    throw new Error("usage: node scripts/make_certs.mjs FOLDER [HOST ...]");
  const wrong = hosts.find((host) => isIP(host) === 0 && !/^(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(host));
  if (wrong !== undefined) throw new Error(`"${wrong}" is no host`);
  mkdirSync(folder, { recursive: true });
  const authority = makeAuthority(folder);
  const scratch = mkdtempSync(join(tmpdir(), "multinode-certs-"));
  try {
    for (const name of NAMES) makeCertificate({ folder, scratch, authority, name, hosts });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function makeAuthority(folder) {
  const [certificate, key] = [join(folder, "ca.crt"), join(folder, "ca.key")];
  if (existsSync(certificate) && existsSync(key)) return { certificate, key };
  openssl("req", "-x509", ...NEW_KEY, "-keyout", key, "-out", certificate, "-days", AUTHORITY_DAYS, [
    ["-subj", "/CN=Multinode development authority"],
    ["-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"],
    ["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ]);
  chmodSync(key, 0o600);
  return { certificate, key };
}

function makeCertificate({ folder, scratch, authority, name, hosts }) {
  const key = join(folder, `${name}.key`);
  const [request, extensions] = [join(scratch, "request"), join(scratch, "extensions")];
  const replicas = Array.from({ length: MOST_REPLICAS }, (_, index) => `${name}-${index + 1}`);
  const alternatives = [name, ...replicas, "localhost", "127.0.0.1", "::1", ...hosts].map((host) =>
    isIP(host) === 0 ? `DNS:${host}` : `IP:${host}`,
  );
  const lines = [
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    // A service is a server to some and a client to others.
    "extendedKeyUsage=serverAuth,clientAuth",
    `subjectAltName=${alternatives.join(",")}`,
  ];
  writeFileSync(extensions, `${lines.join("\n")}\n`);
  openssl("req", "-new", ...NEW_KEY, "-keyout", key, "-out", request, "-subj", `/CN=${name}`);
  chmodSync(key, 0o600);
  openssl("x509", "-req", "-in", request, "-out", join(folder, `${name}.crt`), "-days", DAYS, [
    ["-CA", authority.certificate],
    ["-CAkey", authority.key],
    // 16 random bytes with the first bit clear, so that no list of numbers has to be kept.
    ["-set_serial", `0x${randomSerial()}`],
    ["-extfile", extensions],
  ]);
}

function randomSerial() {
  return openssl("rand", "-hex", "16").trim().replace(/^./, "4");
}

function openssl(...args) {
  const { status, stdout, stderr, error } = spawnSync("openssl", args.flat(2), { encoding: "utf8" });
  if (error !== undefined) throw new Error(`openssl cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(`openssl ${args[0]} failed: ${stderr}`);
  return stdout;
}

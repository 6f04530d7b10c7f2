// Adds to package-lock.json the optional platform packages (`@esbuild/darwin-arm64` and the like) that npm left out because the
// registry it asked does not carry them, as mirrors of one platform do. Without them `npm ci` refuses the lock file ("Missing: … from
// lock file"), and other platforms would never get their binaries. Run after `npm install` (npm run lock).
import { readFileSync, writeFileSync } from "node:fs";

const LOCK = new URL("../package-lock.json", import.meta.url);
const SYSTEMS = new Set([
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32",
]);
const PROCESSORS = new Set(["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"]);
// Some packages spell a processor with its instruction set or its calling convention.
const SPELLINGS = { armv7: "arm" };

/** `@oxlint/binding-linux-x64-musl` → { os: ["linux"], cpu: ["x64"], libc: ["musl"] }; undefined if the name tells no platform. */
function platformOf(name) {
  const words = name
    .split("/")
    .at(-1)
    .split("-")
    .map((word) => SPELLINGS[word] ?? word);
  const os = words.filter((word) => SYSTEMS.has(word));
  const cpu = words.filter((word) => PROCESSORS.has(word));
  if (os.length !== 1 || cpu.length !== 1) return undefined;
  const libc = words.some((word) => word.startsWith("musl"))
    ? ["musl"]
    : words.some((word) => word.startsWith("gnu"))
      ? ["glibc"]
      : undefined;
  return libc ? { os, cpu, libc } : { os, cpu };
}

const lock = JSON.parse(readFileSync(LOCK, "utf8"));
const added = {};
for (const entry of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    const platform = platformOf(name);
    if (lock.packages[key] || !platform || !/^\d/.test(version)) continue;
    added[key] = { version, ...(entry.dev ? { dev: true } : {}), optional: true, ...platform };
  }
}
lock.packages = Object.fromEntries(
  Object.entries({ ...lock.packages, ...added }).sort(([a], [b]) => a.localeCompare(b, "en")),
);
writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`package-lock.json: ${Object.keys(added).length} platform packages added`);
for (const key of Object.keys(added)) console.log(`  ${key.slice("node_modules/".length)}`);

import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Files at once. */
const MAX_WORKERS = 2;

const exclude = ["**/node_modules/**", "**/dist/**", "build/**"];

function project(name: string, include: string[], testTimeout: number) {
  return { extends: true as const, test: { name, include, exclude, testTimeout, hookTimeout: testTimeout } };
}

/** Files that wait more than they compute: twice as many at once as elsewhere. */
function manyAtOnce({ extends: inherits, test }: ReturnType<typeof project>) {
  return { extends: inherits, test: { ...test, maxWorkers: 2 * MAX_WORKERS } };
}

/** The same end-to-end suite, on an installation that its global setup starts once for all files. */
function endToEnd(target: "embedded" | "services" | "stores" | "cluster") {
  const { extends: inherits, test } = project(`e2e-${target}`, ["test/e2e/**/*.test.ts"], 60_000);
  // A container takes a share of the machine until it runs: fewer at once are as fast.
  const maxConcurrency = target === "cluster" ? 4 : 8;
  return { extends: inherits, test: { ...test, globalSetup: [`test/harness/${target}_setup.ts`], maxConcurrency } };
}

/** What stands on a database, once more on PostgreSQL: whatever imports what opens one, itself or by others. */
function onPostgres() {
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const stores = globSync("services/{invocation,registry}/**/*.test.ts", { cwd }).filter((file) =>
    importsOf(join(cwd, file)).has(join(cwd, "test/harness/test_database.ts")),
  );
  const { extends: inherits, test } = manyAtOnce(
    project("postgres", ["test/postgres/**/*.test.ts", ...stores], 60_000),
  );
  return { extends: inherits, test: { ...test, globalSetup: ["test/harness/postgres_setup.ts"] } };
}

/** The files of this repository that one imports, itself or by others; generated ones apart. */
function importsOf(file: string): Set<string> {
  const files = new Set([file]);
  for (const importing of files) {
    for (const [, path = ""] of readFileSync(importing, "utf8").matchAll(/"(\.[^"\n]*)\.js"/g)) {
      const imported = join(dirname(importing), `${path}.ts`);
      if (existsSync(imported) && !imported.includes("/gen/")) files.add(imported);
    }
  }
  return files;
}

/** One file after the other: each starts engines of its own, and engines of one machine share its firewall. */
function onEngines(name: "docker" | "swarm") {
  const { extends: inherits, test } = project(name, [`test/${name}/**/*.test.ts`], 60_000);
  return { extends: inherits, test: { ...test, fileParallelism: false } };
}

/** One file after the other: they kill services. */
const cluster = {
  extends: true as const,
  test: {
    ...project("cluster", ["test/cluster/**/*.test.ts"], 60_000).test,
    globalSetup: ["test/harness/cluster_setup.ts"],
    fileParallelism: false,
  },
};

export default defineConfig({
  // Examples and tests import the SDK by its name; here they get its sources, not the last build.
  resolve: {
    alias: [
      { find: /^multinode$/, replacement: fileURLToPath(new URL("sdk/typescript/src/index.ts", import.meta.url)) },
    ],
  },
  test: {
    // A test may block its thread or end its process; forks keep that from the other files.
    pool: "forks",
    // A cluster's setup takes it down and looks for remains; after this bound vitest would leave without a word.
    teardownTimeout: 300_000,
    maxWorkers: MAX_WORKERS,
    projects: [
      manyAtOnce(
        project(
          "unit",
          [
            "sdk/**/*.test.ts",
            "services/**/*.test.ts",
            "test/{contract,docs,harness}/**/*.test.ts",
            "test/chaos/*.test.ts",
            "examples/**/*.test.ts",
          ],
          20_000,
        ),
      ),
      endToEnd("embedded"),
      endToEnd("services"),
      endToEnd("stores"),
      endToEnd("cluster"),
      cluster,
      project("faults", ["test/chaos/faults/*.test.ts"], 90_000),
      project("full-disk", ["test/chaos/faults/disk/*.test.ts"], 90_000),
      project("nats", ["test/nats/**/*.test.ts"], 30_000),
      project("tls", ["test/tls/**/*.test.ts"], 60_000),
      onPostgres(),
      onEngines("docker"),
      onEngines("swarm"),
      project("python", ["test/python/**/*.test.ts"], 60_000),
    ],
  },
});

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const exclude = ["**/node_modules/**", "**/dist/**", "build/**"];

function project(name: string, include: string[], testTimeout: number) {
  return { extends: true as const, test: { name, include, exclude, testTimeout, hookTimeout: testTimeout } };
}

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
    maxWorkers: 2,
    projects: [
      project(
        "unit",
        ["sdk/**/*.test.ts", "services/**/*.test.ts", "test/{contract,harness}/**/*.test.ts", "examples/**/*.test.ts"],
        20_000,
      ),
      project("e2e", ["test/e2e/**/*.test.ts"], 60_000),
      project("python", ["test/python/**/*.test.ts"], 60_000),
    ],
  },
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BuiltPrograms, buildPrograms } from "../bundle/testing/build_program.js";
import { makeProject } from "../bundle/testing/test_project.js";
import { API_KEY, FakeServices, testId } from "./testing/fake_services.js";
import type { Outcome } from "./testing/test_io.js";

let programs: BuiltPrograms;
let services: FakeServices;
beforeAll(async () => {
  programs = await buildPrograms({ cli: "cli/main.ts", inspect_child: "bundle/inspect_child.ts" });
  services = await FakeServices.start();
});
afterAll(async () => {
  await services[Symbol.asyncDispose]();
  await programs[Symbol.asyncDispose]();
});

async function multinode(...argv: string[]): Promise<Outcome> {
  const env = { ...process.env, MULTINODE_API_URL: services.url, MULTINODE_API_KEY: API_KEY };
  const child = spawn(process.execPath, [programs.file("cli"), ...argv], { env, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { exitStatus: child.exitCode ?? -1, stdout, stderr };
}

const MAIN = `import { Multinode } from "multinode";
export const mn = new Multinode();
export const resize = mn.function({ memory: "1 GiB", timeout: "5m" }, (url: string) => url.length);
`;

test("deploy makes a project, and upgrade another version of it", async () => {
  await using project = await makeProject({ "main.ts": MAIN, ".env": "TOKEN=secret" });
  const missing = await multinode("upgrade", project.directory, "-p", "shop");
  expect(missing).toMatchObject({
    exitStatus: 1,
    stderr: expect.stringMatching(/There is no project "shop"[\s\S]*multinode deploy/),
  });

  const first = await multinode("deploy", project.directory, "-p", "shop");
  expect(first).toMatchObject({ exitStatus: 0, stderr: "" });
  expect(first.stdout).toMatch(/resize +memory 1 GiB, timeout 5m/);
  expect(first.stdout).toMatch(/\.env +TOKEN\n/);
  expect(first.stdout).not.toContain("secret");
  expect(first.stdout).toContain(`shop is now at version ${testId("ver")}`);
  expect(first.stdout).toContain("multinode start --project-name shop --function-name resize --watch");

  const version = services.projects.get("shop")?.versions[0];
  expect(version?.code?.environment).toEqual({ TOKEN: "secret" });
  expect(version?.functions).toMatchObject([
    { functionName: "resize", options: { memoryBytes: 1024 ** 3, timeoutMs: 300_000 } },
  ]);

  const again = await multinode("deploy", project.directory, "-p", "shop");
  expect(again).toMatchObject({ exitStatus: 1, stderr: expect.stringMatching(/already[\s\S]*multinode upgrade/) });

  const second = JSON.parse((await multinode("upgrade", project.directory, "-p", "shop", "--json")).stdout);
  expect(second).toMatchObject({
    projectName: "shop",
    versionId: testId("ver", 2),
    environment: ["TOKEN"],
    packages: [],
  });
  expect(services.bundles.get(second.bundle.digest)).toBe(second.bundle.sizeBytes);
  expect(services.bundles.size).toBe(1);

  expect(await multinode("upgrade", project.directory, "-p", "other", "--deploy")).toMatchObject({ exitStatus: 0 });
});

test("deploy says which packages are not bundled, and why", async () => {
  await using project = await makeProject({
    "main.ts": `import "asking"; import "native"; ${MAIN}`,
    "node_modules/asking/package.json": { name: "asking", version: "1.2.3", dependencies: { one: "1", two: "1" } },
    "node_modules/asking/index.js": "exports.place = __dirname;",
    "node_modules/native/package.json": { name: "native" },
    "node_modules/native/index.js": "",
    "node_modules/native/it.node": "ELF",
    "node_modules/one/package.json": { name: "one" },
    "node_modules/two/package.json": { name: "two" },
  });
  const { stdout } = await multinode("deploy", project.directory, "-p", "packages");
  expect(stdout).toMatch(
    /^packages carried +asking 1\.2\.3 \(\d+ B\): reads its own files\n +native \(\d+ B\): native code\n +2 more that they need \(\d+ B\)$/m,
  );
  const json = JSON.parse((await multinode("upgrade", project.directory, "-p", "packages", "--json")).stdout);
  expect(json.packages).toMatchObject([
    { name: "asking", reason: "reads its own files" },
    { name: "native", reason: "native code" },
    { name: "one" },
    { name: "two" },
  ]);
});

test("deploy proposes to try a function that needs no arguments, also one with a schema", async () => {
  const main = `import { Multinode } from "multinode";
export const mn = new Multinode();
const schema = (minItems: number) => ({
  "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) },
  toJSONSchema: () => ({ type: "array", prefixItems: [{}], minItems }),
});
export const crop = mn.function({ input: schema(1) }, (url: string) => url.length);
export const sweep = mn.function({ input: schema(0) }, () => 1);
`;
  await using project = await makeProject({ "main.ts": main });
  const deployed = await multinode("deploy", project.directory, "-p", "trials");
  expect(deployed).toMatchObject({ stderr: "", stdout: expect.stringContaining("--function-name sweep --watch") });
});

test("a fault in the folder leaves the project as it was", async () => {
  await using project = await makeProject({ "main.ts": `${MAIN}throw new TypeError("not today");` });
  const failed = await multinode("deploy", project.directory, "-p", "faulty");
  expect(failed.exitStatus).toBe(1);
  expect(failed.stderr).toMatch(/^error main\.ts:4:7: TypeError: not today\nnext  Mend main\.ts:4:7/);
  expect(services.projects.has("faulty")).toBe(false);
  const { error } = JSON.parse((await multinode("deploy", project.directory, "-p", "faulty", "--json")).stderr);
  expect(error).toMatchObject({ reason: "ProjectFolderIsInvalid", message: "main.ts:4:7: TypeError: not today" });
});

test("Ctrl-C ends a command", async () => {
  const env = { ...process.env, MULTINODE_API_URL: "http://127.0.0.1:1", MULTINODE_API_KEY: API_KEY };
  await using project = await makeProject({ "main.ts": `${MAIN}console.error("loaded"); for (;;);` });
  const child = spawn(process.execPath, [programs.file("cli"), "deploy", project.directory, "-p", "x"], {
    env,
    stdio: "ignore",
  });
  await once(child, "spawn");
  // A signal that comes before the handler is there ends the process as well.
  const timer = setInterval(() => child.kill("SIGINT"), 200);
  await once(child, "exit");
  clearInterval(timer);
  expect(child.exitCode === 130 || child.signalCode === "SIGINT").toBe(true);
});

/** Deployments that the command line refuses: each with the exit status and what is wrong, and the project stays as it was. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CLI_ENVIRONMENT } from "../harness/cli_program.js";
import { type Files, writeProject } from "../harness/connected_target.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const CLI = fileURLToPath(new URL("../../sdk/typescript/dist/cli.js", import.meta.url));
const TIMEOUT_MS = 60_000;
const run = promisify(execFile);

const START = 'import { Multinode } from "multinode";\nexport const mn = new Multinode();\n';
const f = (options: string): Files => ({ "main.ts": `${START}export const f = mn.function(${options}, () => 2);` });

/** Project folders, and the message that refuses each. */
const BAD_FOLDERS: Readonly<Record<string, readonly [files: Files, message: RegExp]>> = {
  "no main": [{ "other.ts": START }, /^There is no main\.ts in /],
  "a main that does not compile": [
    { "main.ts": `${START}export const = 1;` },
    /^main\.ts:3:14: Expected identifier but found "="$/,
  ],
  "an import that is missing": [
    { "main.ts": `import "./missing.js";\n${START}` },
    /^main\.ts:1:8: Could not resolve "\.\/missing\.js"$/,
  ],
  "an import that throws": [
    { "main.ts": `${START}throw new RangeError("not today");` },
    /^main\.ts:3:7: RangeError: not today$/,
  ],
  "an import that ends the process": [
    { "main.ts": `${START}process.exit(3);` },
    /^main\.ts ended the process while it was imported \(exit status 3\)\.$/,
  ],
  "no Multinode object": [{ "main.ts": "export const f = () => 1;" }, /^main\.ts: main exports no Multinode object; /],
  "two Multinode objects": [
    { "main.ts": `${START}export const other = new Multinode();` },
    /^main\.ts: main exports 2 Multinode objects \("mn" and "other"\); /,
  ],
  "no functions": [{ "main.ts": START }, /^main\.ts exports no function\.$/],
  "two functions of one name": [
    {
      "main.ts": `${START}export const f = mn.function({ name: "same" }, () => 1);
        export const g = mn.function({ name: "same" }, () => 2);`,
    },
    /^main\.ts: main exports two functions named "same" \("f" and "g"\); /,
  ],
  "a bad option": [
    f("{ cpu: 17 }"),
    /^main\.ts:3:21: ParameterValidationError: bad function option: cpu: 17 must be above 0 and at most 16$/,
  ],
  "options that do not go together": [
    f("{ workerConcurrency: 2 }"),
    /bad function option: workerConcurrency: 2 above 1 needs maxInvocationsPerWorker above 1$/,
  ],
  "an unknown option": [
    f("{ retries: 3 }"),
    /bad function option: retries: is no option; the options are name, cpu, memory, /,
  ],
};

/** Command lines, the exit status and the error of each. FOLDER is a good folder, and PROJECT a project that exists. */
const BAD_COMMANDS: readonly (readonly [args: readonly string[], exitCode: number, reason: string, message: RegExp])[] =
  [
    [["deploy", "FOLDER", "--project-name", "PROJECT"], 1, "ProjectAlreadyExists", /^There is a project/],
    [["upgrade", "FOLDER", "--project-name", "missing"], 1, "ProjectDoesNotExist", /^There is no project "missing"/],
    [
      ["upgrade", "/no/such/folder", "--project-name", "PROJECT"],
      1,
      "ProjectFolderIsInvalid",
      /^The folder \/no\/such\/folder does not exist\.$/,
    ],
    [
      ["upgrade", "FOLDER", "--project-name", "a b"],
      2,
      "UsageError",
      /argument 'a b' is invalid\. A project name is 1 to 64 letters/,
    ],
    [["upgrade", "FOLDER"], 2, "UsageError", /^required option '-p, --project-name <name>' not specified$/],
    [["upgrade", "--project-name", "PROJECT"], 2, "UsageError", /^missing required argument 'dir'$/],
    [
      ["upgrade", "FOLDER", "FOLDER", "--project-name", "PROJECT"],
      2,
      "UsageError",
      /^too many arguments for 'upgrade'/,
    ],
    [["upgrade", "FOLDER", "--project-name", "PROJECT", "--force"], 2, "UsageError", /^unknown option '--force'$/],
  ];

let target: Target;
let project: DeployedProject;
let home = "";
beforeAll(async () => {
  target = openTarget();
  home = await mkdtemp(join(tmpdir(), "multinode-home-"));
  project = await target.deploy({ "main.ts": `${START}export const f = mn.function(() => 1);` });
});
afterAll(async () => {
  await rm(home, { recursive: true, force: true });
  await target.close();
});

interface Failure {
  readonly exitCode: number;
  readonly stdout: string;
  readonly error: { readonly reason: string; readonly message: string };
}

/** Runs a command that must fail. */
async function failing(...args: readonly string[]): Promise<Failure> {
  const { apiUrl: MULTINODE_API_URL, apiKey: MULTINODE_API_KEY } = target;
  const env = { ...CLI_ENVIRONMENT, MULTINODE_HOME: home, MULTINODE_API_URL, MULTINODE_API_KEY };
  try {
    await run(process.execPath, [CLI, ...args, "--json"], { env, timeout: TIMEOUT_MS });
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { exitCode: code, stdout, error: (JSON.parse(stderr) as { error: Failure["error"] }).error };
  }
  throw new Error(`multinode ${args.join(" ")} did not fail`);
}

/** The project is at its first version still, and that works. */
async function expectUnchanged(): Promise<void> {
  const { versions } = await target.client.registry.listVersions({ projectName: project.projectName });
  expect(versions?.map(({ versionId }) => versionId)).toEqual([project.versionId]);
}

describe("a project folder", () => {
  it.each(Object.keys(BAD_FOLDERS))("with %s is refused", async (name) => {
    const [files = {}, message] = BAD_FOLDERS[name] ?? [];
    const folder = await writeProject(files);
    try {
      const failure = await failing("upgrade", folder, "--project-name", project.projectName);
      expect(failure).toMatchObject({ exitCode: 1, stdout: "", error: { reason: "ProjectFolderIsInvalid" } });
      expect(failure.error.message).toMatch(message ?? "");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("a command line", () => {
  it.each(BAD_COMMANDS)("%j is refused", async (args, exitCode, reason, message) => {
    const folder = await writeProject(f("{}"));
    try {
      const words = args.map((word) => (word === "FOLDER" ? folder : word === "PROJECT" ? project.projectName : word));
      const failure = await failing(...words);
      expect(failure).toMatchObject({ exitCode, stdout: "", error: { reason } });
      expect(failure.error.message).toMatch(message);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

it("leaves the project as it was", async () => {
  await expectUnchanged();
  expect(await project.fn("f").callRemote()).toBe(1);
});

/**
 * Every TypeScript block of the documents is compiled against the package as users get it, and run against a server. The
 * package must have been built. `extract.ts` says how blocks become projects.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EmbeddedServer, startEmbedded } from "../../services/embedded/embedded.js";
import { listDocuments, REPOSITORY } from "./documents.js";
import { extractProjects, type SnippetProject } from "./extract.js";
import { runProgram } from "./program.js";

const BOUND_MS = 60_000;
const PROJECT_NAME = "my_project";
const CLI = join(REPOSITORY, "sdk/typescript/dist/cli.js");
const TSC = join(REPOSITORY, "node_modules/typescript/bin/tsc");

const COMPILER_OPTIONS = {
  target: "es2023",
  lib: ["es2024", "esnext.disposable"],
  types: ["node"],
  module: "nodenext",
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  erasableSyntaxOnly: true,
  verbatimModuleSyntax: true,
  allowImportingTsExtensions: true,
};

const projects = listDocuments().flatMap(extractProjects);
const root = mkdtempSync(join(tmpdir(), "multinode-docs-"));
let server: EmbeddedServer | undefined;

beforeAll(async () => {
  // Each project finds the packages of this repository, `multinode` among them, as if it had installed them.
  symlinkSync(join(REPOSITORY, "node_modules"), join(root, "node_modules"));
  writeFileSync(join(root, "tsconfig.json"), JSON.stringify({ compilerOptions: COMPILER_OPTIONS }));
  for (const project of projects) writeProject(project);
  server = await startEmbedded({ dataDir: join(root, "data"), host: "127.0.0.1", port: 0 });
}, BOUND_MS);

afterAll(async () => {
  await server?.stop();
  rmSync(root, { recursive: true, force: true });
}, BOUND_MS);

test(
  "every block compiles",
  async () => {
    expect(projects.length).toBeGreaterThan(0);
    const { exitStatus, output } = await run([TSC, "-p", root], root);
    expect({ exitStatus, output }).toEqual({ exitStatus: 0, output: "" });
  },
  BOUND_MS,
);

test.each(projects.flatMap(stepsOf))(
  "$name",
  async ({ args, cwd, prints }) => {
    const { exitStatus, stdout, output } = await run(args, cwd);
    const printed = linesAmong(prints, stdout.split("\n"));
    expect({ exitStatus, printed, output }).toEqual({ exitStatus: 0, printed: prints, output: expect.any(String) });
  },
  BOUND_MS,
);

interface Step {
  readonly name: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly prints: readonly string[];
}

/** Deploys the functions of a project, as a new version of the one that they all share, and runs its programs. */
function stepsOf(project: SnippetProject): Step[] {
  const cwd = folderOf(project);
  const step = (what: string, args: readonly string[], prints: readonly string[] = []): Step => {
    return { name: `${project.documentPath}:${project.line} › ${what}`, args, cwd, prints };
  };
  const programs = project.files.filter(({ path, isRun }) => isRun && !path.startsWith("tasks/"));
  const runs = programs.map(({ path, prints }) => step(path, [path], prints));
  if (!project.files.some(({ path }) => path === "tasks/main.ts")) return runs;
  return [step("deploy", [CLI, "upgrade", "tasks", "--deploy", "--project-name", PROJECT_NAME]), ...runs];
}

/** Those of `wanted` that `lines` holds in the same order. */
function linesAmong(wanted: readonly string[], lines: readonly string[]): string[] {
  const found: string[] = [];
  for (const line of lines) if (line === wanted[found.length]) found.push(line);
  return found;
}

function run(args: readonly string[], cwd: string) {
  if (server === undefined) throw new Error("the server is not up");
  const env = {
    ...process.env,
    NO_COLOR: "1",
    MULTINODE_HOME: join(root, "home"),
    MULTINODE_API_URL: server.url,
    MULTINODE_API_KEY: readFileSync(server.apiKeyFile, "utf8").trim(),
  };
  return runProgram(process.execPath, args, { cwd, env, boundMs: BOUND_MS / 2 });
}

function folderOf({ documentPath, line }: SnippetProject): string {
  return join(root, documentPath, String(line));
}

function writeProject(project: SnippetProject): void {
  const folder = folderOf(project);
  const manifest = JSON.stringify({ private: true, type: "module" });
  for (const name of [".", "tasks"]) {
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, name, "package.json"), manifest);
  }
  for (const { path, text } of project.files) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { LIMITS } from "../protocol/limits.js";
import { VISIBLE_VARIABLES } from "../worker/worker_flags.js";
import type { ProjectFolder } from "./find_main.js";
import { type InspectedFunction, type InspectReport, REPORT_FD, type ReportedError } from "./inspect_report.js";
import { nameIn, resolvePackage } from "./native_package.js";
import { ProjectError } from "./project_error.js";
import { type SourcePlaces, sourcePlaces } from "./source_place.js";
import { unpackArchive } from "./unpack.js";

/** What is kept of what user code writes to stderr, for the error message. */
const STDERR_CHARACTERS = 2_000;

export interface InspectOptions {
  readonly folder: ProjectFolder;
  /** The archive as it will be deployed. */
  readonly archive: Uint8Array;
  /** The variables of `.env`. Nothing else of this process's environment reaches user code but PATH, HOME and the like. */
  readonly environment: Readonly<Record<string, string>>;
  /** Compiled inspect_child. Default: the one beside this file. */
  readonly childFile?: string;
  /** Default 10 s. */
  readonly importTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Imports a bundle in a process of its own, as a worker will, and returns the functions that it defines. So an import
 * that throws, hangs, prints or exits hurts nobody. Throws a ProjectError that names the place in the user's source.
 */
export async function inspectBundle(options: InspectOptions): Promise<readonly InspectedFunction[]> {
  const scratch = await realpath(await mkdtemp(join(tmpdir(), "multinode-inspect-")));
  try {
    await unpackArchive(options.archive, scratch, options.signal);
    const ended = await runChild(scratch, options);
    if (options.signal?.aborted) throw options.signal.reason;
    const report = parseReport(ended.report);
    if (report?.kind === "functions") return report.functions;
    const places = sourcePlaces(scratch, await readFile(join(scratch, "main.mjs"), "utf8"));
    throw failureOf(report, ended, { ...options, places, scratch });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

interface ChildEnd {
  readonly report: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly killedBy: NodeJS.Signals | null;
  readonly timedOut: boolean;
}

async function runChild(scratch: string, options: InspectOptions): Promise<ChildEnd> {
  const child = spawn(process.execPath, [options.childFile ?? beside("inspect_child.js"), join(scratch, "main.mjs")], {
    cwd: scratch,
    // A worker runs already when it is given the variables of .env: it follows no options of Node from there.
    env: { ...systemEnvironment(), ...options.environment, NODE_OPTIONS: undefined },
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const report = collect(child.stdio[REPORT_FD], Number.POSITIVE_INFINITY);
  const stderr = collect(child.stderr, STDERR_CHARACTERS);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, options.importTimeoutMs ?? LIMITS.deployImportMs);
  const onAbort = (): void => void child.kill("SIGKILL");
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const { exitCode, killedBy } = await exitOf(child);
    return { report: report(), stderr: stderr(), exitCode, killedBy, timedOut };
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
  }
}

/** Waits for the end of a child and of its report; not for its stderr, which a grandchild may hold open. */
async function exitOf(child: ChildProcess): Promise<{ exitCode: number | null; killedBy: NodeJS.Signals | null }> {
  const pipe = child.stdio[REPORT_FD];
  const reported = new Promise<void>((done) => pipe?.once("close", done));
  const result = await new Promise<{ exitCode: number | null; killedBy: NodeJS.Signals | null }>((done, fail) => {
    child.once("error", fail);
    child.once("exit", (exitCode, killedBy) => done({ exitCode, killedBy }));
  });
  const bound = new Promise<void>((done) => setTimeout(done, 500).unref());
  await Promise.race([reported, bound]);
  for (const stream of child.stdio) stream?.destroy();
  return result;
}

/** Keeps the last `characters` of a stream. */
function collect(stream: ChildProcess["stdio"][number] | undefined, characters: number): () => string {
  let text = "";
  const readable = stream as Readable | null | undefined;
  readable?.setEncoding("utf8");
  readable?.on("data", (chunk: string) => {
    text = (text + chunk).slice(-characters);
  });
  readable?.on("error", () => {});
  return () => text;
}

const OF_WINDOWS = ["SystemRoot", "TEMP", "TMP", "USERPROFILE"];

/** As in a worker, where the code will run. */
function systemEnvironment(): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of [...VISIBLE_VARIABLES, ...OF_WINDOWS]) {
    const value = process.env[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

/** A file beside this one: in the plain build bundle/inspect_child.js, in the package dist/inspect_child.js. */
function beside(name: string): string {
  return fileURLToPath(new URL(`./${name}`, import.meta.url));
}

function parseReport(text: string): InspectReport | undefined {
  try {
    return JSON.parse(text) as InspectReport;
  } catch {
    return undefined;
  }
}

function failureOf(
  report: Exclude<InspectReport, { kind: "functions" }> | undefined,
  ended: ChildEnd,
  {
    folder,
    importTimeoutMs = LIMITS.deployImportMs,
    places,
    scratch,
  }: InspectOptions & { readonly places: SourcePlaces; readonly scratch: string },
): ProjectError {
  const main = folder.mainName;
  if (report !== undefined) {
    const place = places.placeIn(report.error.stack);
    if (report.kind === "not_a_project") {
      return new ProjectError(`${main}: ${report.error.message}`, `Change ${main} and deploy again.`);
    }
    const text = `${place ?? main}: ${titleOf(report.error).replaceAll(`${scratch}/`, "")}`;
    return new ProjectError(text, hintOf(report.error, place ?? main, places, folder.directory));
  }
  if (ended.timedOut) {
    return new ProjectError(
      `${main} was still being imported after ${importTimeoutMs / 1_000} s.`,
      "Do the slow work inside of a function, not where the file is loaded.",
    );
  }
  if (ended.exitCode === 13) {
    return new ProjectError(`${main}: an "await" outside of any function never ends.`, "Move it into a function.");
  }
  const how = ended.killedBy === null ? `exit status ${ended.exitCode}` : `signal ${ended.killedBy}`;
  const said = ended.stderr.trim().split("\n").slice(-5).join("\n");
  return new ProjectError(
    `${main} ended the process while it was imported (${how}).${said === "" ? "" : `\n${said}`}`,
    'Do not call "process.exit" where the file is loaded.',
  );
}

function titleOf({ name, message, stack }: ReportedError): string {
  // A SyntaxError of Node's loader shows the place only in the first lines of its stack.
  const lines = message === "" ? stack.split("\n")[0] : message;
  return `${name}: ${lines}`;
}

const ENVIRONMENT_HINT = "Only .env of the project folder reaches the environment of functions.";

function hintOf(
  { message, code, stack }: ReportedError,
  place: string,
  places: SourcePlaces,
  directory: string,
): string {
  const missing = /Cannot find (?:package|module) '([^']+)'/.exec(message)?.[1];
  if (missing !== undefined && !isAbsolute(missing) && !missing.startsWith(".")) {
    const name = nameIn(missing);
    return resolvePackage(name, directory) === undefined
      ? `Run "npm install ${name}" in the project folder, or mend the import.`
      : `${nameIt(name)}: no import shows that it is needed.`;
  }
  const bundled = places.bundledPackageIn(stack);
  if (missing !== undefined || code === "ENOENT") {
    return bundled === undefined
      ? `Files that ${place} finds by path are not deployed with it; import them: import data from "./data.json".`
      : `${nameIt(bundled)}: bundled, it does not find its files.`;
  }
  if (bundled === undefined) return `Mend ${place}. ${ENVIRONMENT_HINT}`;
  // Sources of a package, which its source map names, are not here to be mended.
  const cause = place.startsWith("..") ? "what it asks for" : place;
  return `Mend ${cause}. ${ENVIRONMENT_HINT} ${nameIt(bundled)} if it cannot be bundled.`;
}

function nameIt(name: string): string {
  return `Name "${name}" under multinode.external in package.json`;
}

/** A running installation, and what tests need of it. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bundleProject, type ProjectBundle } from "../../sdk/typescript/src/bundle/bundle_project.js";
import { type ProjectDemand, uploadVersion } from "../../sdk/typescript/src/cli/upload.js";
import { MultinodeClient } from "../../sdk/typescript/src/client/client.js";
import { type DeployedFunction, getDeployedFunction } from "../../sdk/typescript/src/deployed.js";
import * as sdk from "../../sdk/typescript/src/index.js";
import { repositoryFile } from "./repository.js";
import type { RunningTarget } from "./running_target.js";

/** Longest time that bundling and storing one version may take. */
const DEPLOY_TIMEOUT_MS = 60_000;

/** Content by path in the project folder, such as {"main.ts": "..."}. */
export type Files = Readonly<Record<string, string>>;

export interface DeployOptions {
  /** Default: a name that was not used before. */
  readonly projectName?: string;
  /** What must be with the project beforehand. Default "CREATE_IF_MISSING". */
  readonly policy?: ProjectDemand;
}

/** A version that was deployed. */
export interface DeployedProject {
  readonly projectName: string;
  readonly versionId: string;
  /** A function of the project, in its newest version, or in the version given. */
  readonly fn: <F = (...args: unknown[]) => unknown>(functionName: string, versionId?: string) => DeployedFunction<F>;
}

export interface Target extends AsyncDisposable {
  readonly kind: RunningTarget["kind"];
  readonly apiUrl: string;
  readonly apiKey: string;
  /** Where workers come to. */
  readonly workerUrl: string;
  /** How many there are, each with workers of its own. */
  readonly schedulers: number;
  readonly client: MultinodeClient;
  /** A project name that was not used before. */
  newProjectName(): string;
  /** Writes the files into a folder, bundles it as the command line does, and makes a version of it. */
  deploy(files: Files, options?: DeployOptions): Promise<DeployedProject>;
  /** Bundles files without sending them. */
  bundle(files: Files): Promise<ProjectBundle>;
  /** A function of a project. */
  fn<F = (...args: unknown[]) => unknown>(
    projectName: string,
    functionName: string,
    versionId?: string,
    ofClient?: MultinodeClient,
  ): DeployedFunction<F>;
  close(): Promise<void>;
}

export interface TargetAddress {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly kind?: RunningTarget["kind"];
  /** Default: `apiUrl`. */
  readonly workerUrl?: string | undefined;
  /** Default 1. */
  readonly schedulers?: number | undefined;
}

/** Connects to an installation that is running already. */
export function connectTarget({
  apiUrl,
  apiKey,
  kind = "embedded",
  workerUrl = apiUrl,
  schedulers = 1,
}: TargetAddress): Target {
  const client = new MultinodeClient({ apiUrl, apiKey });
  const fn = <F>(projectName: string, functionName: string, versionId?: string, ofClient = client) =>
    getDeployedFunction<F>({ projectName, functionName, versionId, client: ofClient });
  return {
    kind,
    apiUrl,
    apiKey,
    workerUrl,
    schedulers,
    client,
    newProjectName,
    bundle: bundleFiles,
    fn,
    async deploy(files, { projectName = newProjectName(), policy = "CREATE_IF_MISSING" } = {}) {
      const bundle = await bundleFiles(files);
      const signal = AbortSignal.timeout(DEPLOY_TIMEOUT_MS);
      const versionId = await uploadVersion(client, bundle, { projectName, demand: policy, signal });
      return { projectName, versionId, fn: (functionName, ofVersion) => fn(projectName, functionName, ofVersion) };
    },
    close: () => client.close(),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

function newProjectName(): string {
  return `t-${crypto.randomUUID()}`;
}

async function bundleFiles(files: Files): Promise<ProjectBundle> {
  const folder = await writeProject(files);
  try {
    return await bundleProject(folder, {
      sdkNames: Object.keys(sdk),
      childFile: repositoryFile("sdk/typescript/dist/inspect_child.js"),
      importTimeoutMs: DEPLOY_TIMEOUT_MS,
      signal: AbortSignal.timeout(DEPLOY_TIMEOUT_MS),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes a project folder under the system's temporary folder, with the packages of this repository installed. */
export async function writeProject(files: Files): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "multinode-project-"));
  const all = { "package.json": '{"name":"tasks","type":"module"}', ...files };
  for (const [path, content] of Object.entries(all)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  await symlink(repositoryFile("node_modules"), join(folder, "node_modules"));
  return folder;
}

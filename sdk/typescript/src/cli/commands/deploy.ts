import { relative } from "node:path";
import type { Command } from "commander";
import type { ProjectBundle } from "../../bundle/bundle_project.js";
import type { CarriedPackage } from "../../bundle/carried_packages.js";
import { ImageBuildFailed, ImagesAreNotSupported, ProjectAlreadyExists, ProjectDoesNotExist } from "../../errors.js";
import { CommandError } from "../command_error.js";
import type { CommandContext } from "../context.js";
import { buildOutput } from "../output/build_output.js";
import { formatBytes, formatDuration } from "../output/format.js";
import { functionJson, functionTable } from "../output/functions.js";
import { type Paint, paintFor } from "../output/paint.js";
import { fieldLines } from "../output/table.js";
import { writeJson, writeLines } from "../output/write.js";
import { jsonOption, projectNameOption } from "../parameters.js";
import { type ProjectDemand, uploadVersion } from "../upload.js";

interface DeployOptions {
  projectName: string;
  deploy?: boolean;
  json?: boolean;
}

const FOLDER = "folder that holds main.ts, package.json and .env";

/** `deploy` makes a new project and `upgrade` a new version of one that exists; the rest is the same. */
export function registerDeploy(program: Command, context: CommandContext): void {
  program
    .command("deploy")
    .description("make a new project of a folder")
    .argument("<dir>", FOLDER)
    .addOption(projectNameOption().makeOptionMandatory())
    .addOption(jsonOption())
    .action((folder: string, options: DeployOptions) => deploy(context, folder, "MUST_BE_NEW", options));
  program
    .command("upgrade")
    .description("make a new version of a project")
    .argument("<dir>", FOLDER)
    .addOption(projectNameOption().makeOptionMandatory())
    .option("--deploy", "make the project if there is none")
    .addOption(jsonOption())
    .action((folder: string, options: DeployOptions) =>
      deploy(context, folder, options.deploy === true ? "CREATE_IF_MISSING" : "MUST_EXIST", options),
    );
}

async function deploy(
  { io, connect }: CommandContext,
  folder: string,
  demand: ProjectDemand,
  { projectName, json }: DeployOptions,
): Promise<void> {
  const startedAt = performance.now();
  // Connecting first tells of missing credentials before any work is done; nothing is sent yet.
  await using client = await connect();
  const [{ bundleProject }, sdk] = await Promise.all([
    import("../../bundle/bundle_project.js"),
    import("../../index.js"),
  ]);
  const bundle = await bundleProject(folder, { sdkNames: Object.keys(sdk), signal: io.signal });
  const bundledMs = performance.now() - startedAt;
  const paint = paintFor(io.stdout, io.env);
  if (json !== true) writeLines(io, bundleLines(bundle, folder, bundledMs, paint));

  const build = buildOutput(io, { json: json === true });
  const onBuildOutput = build.write;
  let builtMs: number | undefined;
  const versionId = await uploadVersion(client, bundle, { projectName, demand, signal: io.signal, onBuildOutput })
    .catch((error: unknown) => {
      throw explained(error, folder, projectName);
    })
    .finally(() => {
      builtMs = build.end();
    });
  const durationMs = Math.round(performance.now() - startedAt);
  if (json === true) return writeJson(io, deployJson(bundle, { projectName, versionId, durationMs }));
  const next = functionToTry(bundle);
  writeLines(io, [
    ...(builtMs === undefined ? [] : [`${paint.dim("image")}   built in ${formatDuration(builtMs)}`]),
    "",
    `${paint.green("✔")} ${paint.bold(projectName)} is now at version ${paint.bold(versionId)} ${paint.dim(`(${formatDuration(durationMs)})`)}`,
    `  ${paint.dim("try")}  multinode start --project-name ${projectName} --function-name ${next} --watch`,
  ]);
}

/** One that can be called without arguments if there is one; else what to give it is to be filled in. */
function functionToTry({ functions }: ProjectBundle): string {
  const free = functions.find(({ inputSchema }) => inputSchema === "" || allowsNoArguments(inputSchema));
  return free === undefined ? `${functions[0]?.functionName ?? ""} ARG…` : free.functionName;
}

/** The schema is one of the list of arguments. */
function allowsNoArguments(inputSchema: string): boolean {
  const { minItems = 0 } = JSON.parse(inputSchema) as { minItems?: number };
  return minItems === 0;
}

function bundleLines(bundle: ProjectBundle, folder: string, bundledMs: number, paint: Paint): string[] {
  const { archive, carried, context, environment, functions, warnings } = bundle;
  const names = Object.keys(environment).toSorted();
  const place = relative(process.cwd(), folder) || ".";
  return [
    ...functionTable(functions, paint),
    "",
    ...fieldLines([
      [
        paint.dim("bundle"),
        `${place}/${bundle.mainName} → ${formatBytes(archive.bytes.length)} ${paint.dim(`in ${formatDuration(bundledMs)}`)}`,
      ],
      ...carriedTexts(carried).map((text, index) => [index === 0 ? paint.dim("packages carried") : "", text] as const),
      [paint.dim("Dockerfile"), context && `an image of ${formatBytes(context.bytes.length)} of the folder`],
      [paint.dim(".env"), names.length === 0 ? undefined : names.join(", ")],
    ]),
    ...warnings.map((warning) => `${paint.yellow("warning")} ${warning}`),
  ];
}

/** Those that could not be bundled with the reason of each, then all that only they need. */
function carriedTexts(carried: readonly CarriedPackage[]): string[] {
  const needed = carried.filter(({ reason }) => reason === undefined);
  const neededBytes = needed.reduce((sum, { bytes }) => sum + bytes, 0);
  return [
    ...carried.flatMap(({ name, version, bytes, reason }) =>
      reason === undefined ? [] : [`${name}${version && ` ${version}`} (${formatBytes(bytes)}): ${reason}`],
    ),
    ...(needed.length === 0 ? [] : [`${needed.length} more that they need (${formatBytes(neededBytes)})`]),
  ];
}

function deployJson(
  { archive, carried, context, environment, functions, warnings }: ProjectBundle,
  outcome: { projectName: string; versionId: string; durationMs: number },
): Record<string, unknown> {
  return {
    ...outcome,
    functions: functions.map(functionJson),
    bundle: { digest: archive.digest, sizeBytes: archive.bytes.length },
    ...(context && { image: { contextDigest: context.digest, contextBytes: context.bytes.length } }),
    packages: carried.map(({ name, version, path, bytes, reason }) => ({
      name,
      version,
      path,
      sizeBytes: bytes,
      reason,
    })),
    environment: Object.keys(environment).toSorted(),
    warnings,
  };
}

function explained(error: unknown, folder: string, projectName: string): unknown {
  if (error instanceof ProjectAlreadyExists) {
    const hint = `To make a new version of it: multinode upgrade ${folder} --project-name ${projectName}`;
    return new CommandError(error.reason, `There is a project "${projectName}" already.`, hint, { cause: error });
  }
  if (error instanceof ProjectDoesNotExist) {
    const hint = `To make it: multinode deploy ${folder} --project-name ${projectName} (or upgrade with --deploy)`;
    return new CommandError(error.reason, `There is no project "${projectName}".`, hint, { cause: error });
  }
  if (error instanceof ImagesAreNotSupported) {
    const hint =
      "Deploy to a cluster that runs containers, or remove the Dockerfile to deploy main.ts and its packages alone.";
    return new CommandError(error.reason, `${folder} has a Dockerfile, and this server builds no images.`, hint, {
      cause: error,
    });
  }
  if (error instanceof ImageBuildFailed) {
    const hint = "Mend the Dockerfile and deploy again. Nothing has changed on the server.";
    return new CommandError(error.reason, error.message, hint, { cause: error });
  }
  return error;
}

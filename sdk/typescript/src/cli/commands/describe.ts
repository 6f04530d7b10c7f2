import type { Command } from "commander";
import type { MultinodeClient } from "../../client/client.js";
import { UsageError } from "../command_error.js";
import type { CommandContext } from "../context.js";
import { formatTime } from "../output/format.js";
import { optionFields } from "../output/function_options.js";
import { functionJson, functionTable } from "../output/functions.js";
import { invocationJson, invocationLines, invocationTable } from "../output/invocation.js";
import { paintFor } from "../output/paint.js";
import { fieldLines, tableLines } from "../output/table.js";
import { writeJson, writeLines } from "../output/write.js";
import {
  functionNameOption,
  invocationIdOption,
  jsonOption,
  projectNameOption,
  versionIdOption,
} from "../parameters.js";

interface DescribeOptions {
  projectName?: string;
  versionId?: string;
  functionName?: string;
  invocationId?: string;
  json?: boolean;
}

/** Versions and invocations that are shown, newest first. */
const SHOWN_VERSIONS = 20;
const SHOWN_INVOCATIONS = 20;

export function registerDescribe(program: Command, context: CommandContext): void {
  program
    .command("describe")
    .description("show a project, a version, a function or an invocation")
    .addOption(projectNameOption())
    .addOption(versionIdOption())
    .addOption(functionNameOption())
    .addOption(invocationIdOption())
    .addOption(jsonOption())
    .action((options: DescribeOptions) => describe(context, options));
}

async function describe(context: CommandContext, options: DescribeOptions): Promise<void> {
  const { projectName, functionName, versionId, invocationId } = options;
  if (invocationId !== undefined) {
    await using client = await context.connect();
    await describeInvocation(context, client, { ...options, invocationId });
    return;
  }
  if (projectName === undefined) throw new UsageError("Give --project-name or --invocation-id.");
  await using client = await context.connect();
  if (functionName !== undefined) await describeFunction(context, client, { ...options, projectName, functionName });
  else if (versionId !== undefined) await describeVersion(context, client, { ...options, projectName, versionId });
  else await describeProject(context, client, { ...options, projectName });
}

async function describeInvocation(
  { io }: CommandContext,
  client: MultinodeClient,
  {
    invocationId,
    projectName = "",
    functionName = "",
    versionId = "",
    json,
  }: DescribeOptions & { invocationId: string },
): Promise<void> {
  const check = { projectName, functionName, versionId };
  const invocation = await client.get(invocationId, check, io.signal);
  if (json === true) return writeJson(io, invocationJson(invocation));
  writeLines(io, invocationLines(invocation, { paint: paintFor(io.stdout, io.env), columns: io.stdout.columns }));
}

async function describeProject(
  { io }: CommandContext,
  client: MultinodeClient,
  { projectName, json }: DescribeOptions & { projectName: string },
): Promise<void> {
  const call = { signal: io.signal };
  const [{ project }, { versions, nextOffset }] = await Promise.all([
    client.registry.getProject({ projectName }, call),
    client.registry.listVersions({ projectName, pageSize: SHOWN_VERSIONS }, call),
  ]);
  const latestVersionId = project?.latestVersionId ?? "";
  const functions =
    latestVersionId === ""
      ? []
      : ((await client.registry.getVersion({ projectName, versionId: latestVersionId }, call)).version?.functions ??
        []);
  const createdAt = new Date(project?.createTimeMs ?? 0);
  const deleting = project?.deleting === true;
  if (json === true) {
    return writeJson(io, {
      projectName,
      createdAt,
      deleting,
      latestVersionId: latestVersionId === "" ? null : latestVersionId,
      versions: versions.map((version) => ({
        versionId: version.versionId,
        createdAt: new Date(version.createTimeMs),
        latest: version.versionId === latestVersionId,
      })),
      hasMoreVersions: nextOffset !== "",
      functions: functions.map(functionJson),
    });
  }
  const paint = paintFor(io.stdout, io.env);
  writeLines(io, [
    ...fieldLines([
      [paint.dim("project"), paint.bold(projectName) + (deleting ? paint.yellow(" (being deleted)") : "")],
      [paint.dim("created"), formatTime(createdAt)],
    ]),
    "",
    ...tableLines(
      [paint.dim("VERSION"), paint.dim("CREATED")],
      versions.map(({ versionId, createTimeMs }) => [
        versionId,
        formatTime(new Date(createTimeMs)) + (versionId === latestVersionId ? paint.green("  latest") : ""),
      ]),
    ),
    ...(nextOffset === "" ? [] : [paint.dim("and older ones")]),
    "",
    ...functionTable(functions, paint),
  ]);
}

async function describeVersion(
  { io }: CommandContext,
  client: MultinodeClient,
  { projectName, versionId, json }: DescribeOptions & { projectName: string; versionId: string },
): Promise<void> {
  const { version } = await client.registry.getVersion({ projectName, versionId }, { signal: io.signal });
  const source = version?.code?.source;
  const code = source?.$case === "bundle" ? `bundle ${source.value.digest}` : undefined;
  const contextDigest = version?.code?.contextDigest;
  const environment = Object.keys(version?.code?.environment ?? {}).toSorted();
  const createdAt = new Date(version?.createTimeMs ?? 0);
  const functions = version?.functions ?? [];
  if (json === true) {
    const shown = {
      versionId: version?.versionId,
      createdAt,
      code,
      ...(contextDigest && { contextDigest }),
      environment,
    };
    return writeJson(io, { projectName, ...shown, functions: functions.map(functionJson) });
  }
  const paint = paintFor(io.stdout, io.env);
  writeLines(io, [
    ...fieldLines([
      [paint.dim("version"), paint.bold(version?.versionId ?? "")],
      [paint.dim("project"), projectName],
      [paint.dim("created"), formatTime(createdAt)],
      [paint.dim("code"), code],
      [paint.dim("image"), contextDigest && `of the context ${contextDigest}`],
      [paint.dim(".env"), environment.length === 0 ? undefined : environment.join(", ")],
    ]),
    "",
    ...functionTable(functions, paint),
  ]);
}

async function describeFunction(
  { io }: CommandContext,
  client: MultinodeClient,
  { projectName, functionName, versionId, json }: DescribeOptions & { projectName: string; functionName: string },
): Promise<void> {
  const [found, { invocations, offset }] = await Promise.all([
    client.registry.getFunction({ projectName, functionName, versionId: versionId ?? "" }, { signal: io.signal }),
    client.list(
      {
        projectName,
        functionName,
        // "latest" means the function of the newest version, and the invocations of all of them.
        versionId: versionId === undefined || versionId === "latest" ? "" : versionId,
        statuses: [],
        parentInvocationId: "",
        createdFromMs: undefined,
        createdBeforeMs: undefined,
        pageSize: SHOWN_INVOCATIONS,
        offset: "",
      },
      io.signal,
    ),
  ]);
  const spec = found.function;
  if (json === true) {
    return writeJson(io, {
      projectName,
      versionId: found.versionId,
      ...(spec === undefined ? {} : functionJson(spec)),
      invocations: invocations.map(invocationJson),
      hasMoreInvocations: offset !== undefined,
    });
  }
  const paint = paintFor(io.stdout, io.env);
  writeLines(io, [
    ...fieldLines([
      [paint.dim("function"), paint.bold(functionName)],
      [paint.dim("project"), projectName],
      [paint.dim("version"), found.versionId],
      ...optionFields(spec?.options).map(
        ({ name, text, isDefault }) =>
          [paint.dim(name), isDefault ? `${text} ${paint.dim("(default)")}` : text] as const,
      ),
      [paint.dim("input schema"), spec?.inputSchema || undefined],
      [paint.dim("output schema"), spec?.outputSchema || undefined],
    ]),
    "",
    ...(invocations.length === 0 ? [paint.dim("No invocations yet.")] : invocationTable(invocations, paint)),
    ...(offset === undefined ? [] : [paint.dim("and older ones")]),
  ]);
}

import type { Command } from "commander";
import type { CommandContext } from "../context.js";
import { formatTime } from "../output/format.js";
import { paintFor } from "../output/paint.js";
import { tableLines } from "../output/table.js";
import { writeJson, writeLines } from "../output/write.js";
import { jsonOption } from "../parameters.js";

export function registerList(program: Command, context: CommandContext): void {
  program
    .command("list")
    .description("list the projects")
    .addOption(jsonOption())
    .action((options: { json?: boolean }) => list(context, options));
}

const PAGE_SIZE = 1_000;

async function list({ io, connect }: CommandContext, { json }: { json?: boolean }): Promise<void> {
  await using client = await connect();
  const projects = [];
  let offset = "";
  do {
    const page = await client.registry.listProjects({ pageSize: PAGE_SIZE, offset }, { signal: io.signal });
    projects.push(...page.projects);
    offset = page.nextOffset;
  } while (offset !== "");

  if (json === true) {
    const shown = projects.map(({ projectName, latestVersionId, createTimeMs, deleting }) => ({
      projectName,
      latestVersionId: latestVersionId === "" ? null : latestVersionId,
      createdAt: new Date(createTimeMs),
      deleting,
    }));
    writeJson(io, { projects: shown });
    return;
  }
  const paint = paintFor(io.stdout, io.env);
  if (projects.length === 0) {
    writeLines(io, ['No projects yet. Deploy one with "multinode deploy DIR --project-name P".']);
    return;
  }
  const rows = projects.map((project) => [
    paint.bold(project.projectName),
    project.latestVersionId === "" ? "-" : project.latestVersionId,
    formatTime(new Date(project.createTimeMs)) + (project.deleting ? paint.yellow("  being deleted") : ""),
  ]);
  writeLines(
    io,
    tableLines(
      ["PROJECT", "LATEST VERSION", "CREATED"].map((title) => paint.dim(title)),
      rows,
    ),
  );
}

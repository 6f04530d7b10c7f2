/** Look-ups that several requests share, with their refusals. */
import { isLatest } from "../../sdk/typescript/src/protocol/names.js";
import { projectDoesNotExist } from "../platform/errors.js";
import type { RegistryContext } from "./context.js";
import type { ProjectRecord } from "./store.js";
import type { LoadedFunctions } from "./version_functions.js";

export interface FoundFunctions {
  readonly versionId: string;
  readonly loaded: LoadedFunctions;
}

/** @throws Refusal ProjectDoesNotExist. */
export async function findProject({ store }: Pick<RegistryContext, "store">, projectName: string) {
  const [project] = await store.findProjects([projectName]);
  if (project === undefined) throw projectDoesNotExist(projectName);
  return project;
}

/** Answers undefined where the project has no such version. */
export async function findFunctions(
  { versionFunctions }: Pick<RegistryContext, "versionFunctions">,
  project: ProjectRecord,
  requestedVersionId: string,
): Promise<FoundFunctions | undefined> {
  const versionId = isLatest(requestedVersionId) ? project.latestVersionId : requestedVersionId;
  if (versionId === "") return undefined;
  const loaded = await versionFunctions.of(versionId);
  return loaded === undefined || loaded.projectId !== project.projectId ? undefined : { versionId, loaded };
}

/** Hot: asked for every batch of starts. One query for all projects; functions of versions come from memory. */
import type {
  FunctionRef,
  ResolveFunctionsRequest,
  ResolveFunctionsResponse,
  ResolveOutcome,
} from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { isId, isLatest, isProjectName } from "../../../sdk/typescript/src/protocol/names.js";
import type { Reason } from "../../../sdk/typescript/src/protocol/reasons.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { type FoundFunctions, findFunctions } from "../find.js";
import { resolveRequest } from "../requests.js";
import type { ProjectRecord } from "../store.js";

type Resolvable = { readonly project: ProjectRecord; readonly found: FoundFunctions } | { readonly reason: Reason };

export function resolveFunctions(context: RegistryContext) {
  return async (request: ResolveFunctionsRequest): Promise<ResolveFunctionsResponse> => {
    const { functions } = parse(resolveRequest, request);
    const projects = await loadProjects(context, functions);
    const versions = new Map<string, Promise<Resolvable>>();
    const outcomes = functions.map(async (ref): Promise<ResolveOutcome> => {
      const key = `${ref.projectName}/${ref.versionId}`;
      let version = versions.get(key);
      if (version === undefined) {
        version = findVersion(context, projects.get(ref.projectName), ref.versionId);
        versions.set(key, version);
      }
      return toOutcome(await version, ref.functionName);
    });
    return { outcomes: await Promise.all(outcomes), cacheMs: context.resolveCacheMs };
  };
}

async function loadProjects({ store }: RegistryContext, refs: readonly FunctionRef[]) {
  const names = new Set(refs.map((ref) => ref.projectName).filter(isProjectName));
  const projects = await store.findProjects([...names]);
  return new Map(projects.map((project) => [project.projectName, project]));
}

async function findVersion(
  context: RegistryContext,
  project: ProjectRecord | undefined,
  versionId: string,
): Promise<Resolvable> {
  if (project === undefined) return { reason: "ProjectDoesNotExist" };
  if (project.isDeleting) return { reason: "ProjectIsBeingDeleted" };
  if (!isLatest(versionId) && !isId("ver", versionId)) return { reason: "VersionDoesNotExist" };
  const found = await findFunctions(context, project, versionId);
  return found === undefined ? { reason: "VersionDoesNotExist" } : { project, found };
}

function toOutcome(version: Resolvable, functionName: string): ResolveOutcome {
  if ("reason" in version) return { outcome: { $case: "errorReason", value: version.reason } };
  const { project, found } = version;
  const spec = found.loaded.functions.get(functionName);
  if (spec === undefined) return { outcome: { $case: "errorReason", value: "FunctionDoesNotExist" } };
  const { projectId, projectName } = project;
  return {
    outcome: { $case: "function", value: { projectId, projectName, versionId: found.versionId, function: spec } },
  };
}

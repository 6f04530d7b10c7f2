import type {
  ResolveProjectRequest,
  ResolveProjectResponse,
} from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { findProject } from "../find.js";
import { projectRequest } from "../requests.js";

export function resolveProject(context: RegistryContext) {
  return async (request: ResolveProjectRequest): Promise<ResolveProjectResponse> => {
    const { projectName } = parse(projectRequest, request);
    const { projectId, latestVersionId } = await findProject(context, projectName);
    return { projectId, latestVersionId };
  };
}

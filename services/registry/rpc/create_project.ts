import type {
  CreateProjectRequest,
  CreateProjectResponse,
} from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { projectIsBeingDeleted } from "../../platform/errors.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { toProject } from "../convert.js";
import { projectAlreadyExists } from "../domain/version_decision.js";
import { projectRequest } from "../requests.js";
import type { ProjectRecord } from "../store.js";

export function createProject({ store, clock, ids }: RegistryContext) {
  return async (request: CreateProjectRequest): Promise<CreateProjectResponse> => {
    const { projectName } = parse(projectRequest, request);
    const project: ProjectRecord = {
      projectId: ids.next("prj"),
      projectName,
      latestVersionId: "",
      createTimeMs: clock.now(),
      isDeleting: false,
    };
    const existing = await store.createProject(project);
    if (existing?.isDeleting === true) throw projectIsBeingDeleted(projectName);
    if (existing !== undefined) throw projectAlreadyExists(projectName);
    return { project: toProject(project) };
  };
}

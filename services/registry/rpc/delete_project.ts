import type {
  DeleteProjectRequest,
  DeleteProjectResponse,
} from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { projectDoesNotExist } from "../../platform/errors.js";
import { parse } from "../../platform/rpc/validation.js";
import { forgotten, type RegistryContext } from "../context.js";
import { toProject } from "../convert.js";
import { projectRequest } from "../requests.js";

export function deleteProject(context: RegistryContext) {
  const { store, clock, bus, wakeTeardown } = context;
  return async (request: DeleteProjectRequest): Promise<DeleteProjectResponse> => {
    const { projectName } = parse(projectRequest, request);
    const project = await store.markDeleting(projectName, clock.now());
    if (project === undefined) throw projectDoesNotExist(projectName);
    bus.publish({ $case: "project", value: { projectName } });
    wakeTeardown();
    await forgotten(context);
    return { project: toProject(project) };
  };
}

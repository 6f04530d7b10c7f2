import type {
  ListProjectsRequest,
  ListProjectsResponse,
} from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { pageSizeOf } from "../../platform/page_offset.js";
import type { Caller } from "../../platform/rpc/principal.js";
import type { RegistryContext } from "../context.js";
import { toProject } from "../convert.js";

const LISTING = ["projects"];

export function listProjects({ store, offsets }: RegistryContext) {
  return async (request: ListProjectsRequest, { principal }: Caller): Promise<ListProjectsResponse> => {
    if (principal.kind === "key" && principal.projectName !== "") {
      return { projects: (await store.findProjects([principal.projectName])).map(toProject), nextOffset: "" };
    }
    const pageSize = pageSizeOf(request.pageSize);
    const projects = await store.listProjects(offsets.decode(LISTING, request.offset), pageSize + 1);
    const { page, nextOffset } = offsets.page(LISTING, projects, pageSize, (project) => project.projectName);
    return { projects: page.map(toProject), nextOffset };
  };
}

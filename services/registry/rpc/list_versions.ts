import { Version } from "../../../gen/multinode/registry/v1/function.pb.js";
import type {
  ListVersionsRequest,
  ListVersionsResponse,
} from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { fitting, pageSizeOf } from "../../platform/page_offset.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { toVersion } from "../convert.js";
import { findProject } from "../find.js";
import { projectRequest } from "../requests.js";

export function listVersions(context: RegistryContext) {
  const { store, offsets } = context;
  return async (request: ListVersionsRequest): Promise<ListVersionsResponse> => {
    const { projectName } = parse(projectRequest, request);
    const pageSize = pageSizeOf(request.pageSize);
    const project = await findProject(context, projectName);
    const listing = ["versions", project.projectId];
    const position = offsets.decode(listing, request.offset);
    const before = position === undefined ? undefined : Number(position);
    const records = await store.listVersions(project.projectId, before, pageSize + 1);
    // The names of environment variables can make versions large.
    const all = records.slice(0, pageSize).map((record) => toVersion(record, []));
    const versions = fitting(all, (version) => Version.encode(version).finish().byteLength);
    const last = versions.length < records.length ? records[versions.length - 1] : undefined;
    const nextOffset = last === undefined ? "" : offsets.encode(listing, String(last.number));
    return { versions: [...versions], nextOffset };
  };
}

import { Version } from "../../../gen/multinode/registry/v1/function.pb.js";
import type {
  ListVersionsRequest,
  ListVersionsResponse,
} from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { pageSizeOf } from "../../platform/page_offset.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { toVersion } from "../convert.js";
import { findProject } from "../find.js";
import { projectRequest } from "../requests.js";
import type { VersionRecord } from "../store.js";

/** The names of environment variables can make versions large: a page ends before the message gets too large. */
const PAGE_BYTES = LIMITS.messageBytes / 2;

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
    const versions = fitting(records.slice(0, pageSize));
    const last = versions.length < records.length ? records[versions.length - 1] : undefined;
    const nextOffset = last === undefined ? "" : offsets.encode(listing, String(last.number));
    return { versions, nextOffset };
  };
}

/** As many of the versions, from the first, as one message holds; at least one. */
function fitting(records: readonly VersionRecord[]): Version[] {
  const versions: Version[] = [];
  let bytes = 0;
  for (const record of records) {
    const version = toVersion(record, []);
    bytes += Version.encode(version).finish().byteLength;
    if (bytes > PAGE_BYTES && versions.length > 0) break;
    versions.push(version);
  }
  return versions;
}

/** ListInvocations: one page, newest first. */
import type {
  InvocationServiceImplementation,
  ListInvocationsRequest,
} from "../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { isLatest } from "../../../sdk/typescript/src/protocol/names.js";
import { permissionDenied } from "../../platform/errors.js";
import { pageSizeOf } from "../../platform/page_offset.js";
import type { Caller, Principal } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import { toSummary } from "../convert.js";
import type { InvocationDeps } from "../deps.js";
import { listRequest } from "../requests.js";
import type { ListFilter } from "../store.js";

export function listHandler(deps: InvocationDeps): Pick<InvocationServiceImplementation<Caller>, "listInvocations"> {
  const { db, store, offsets, projects } = deps;
  return {
    async listInvocations(message, { principal, signal }) {
      const request = parse(listRequest, withinScope(message, principal));
      const { projectId, latestVersionId } = await projects.find(request.projectName, signal);
      const isOfLatest = request.versionId !== "" && isLatest(request.versionId);
      const asked: ListFilter = {
        projectId,
        functionName: request.functionName,
        versionId: isOfLatest ? "latest" : request.versionId,
        statuses: request.statuses,
        parentId: request.parentInvocationId,
        createdFrom: request.createdFromMs ?? null,
        createdBefore: request.createdBeforeMs ?? null,
      };
      // Each page is of what is the newest then.
      const filter = isOfLatest ? { ...asked, versionId: latestVersionId } : asked;
      const listing = ["invocations", asked];
      const before = offsets.decode(listing, request.offset) ?? null;
      const page = await db.read((tx) => store.list(tx, filter, before, pageSizeOf(request.pageSize)));
      return {
        invocations: page.items.map(toSummary),
        nextOffset: page.position === null ? "" : offsets.encode(listing, page.position),
      };
    },
  };
}

/** Inside a function, what is listed are the children of its own invocation. */
function withinScope(message: ListInvocationsRequest, principal: Principal): ListInvocationsRequest {
  if (principal.kind !== "execution") return message;
  const { invocationId: parentInvocationId } = principal;
  if (message.parentInvocationId !== "" && message.parentInvocationId !== parentInvocationId) {
    throw permissionDenied("an execution lists the children of its own invocation only");
  }
  return { ...message, projectName: message.projectName || principal.projectName, parentInvocationId };
}

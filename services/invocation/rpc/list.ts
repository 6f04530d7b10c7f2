/** ListInvocations: one page, newest first. */
import type {
  InvocationServiceImplementation,
  ListInvocationsRequest,
} from "../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { isLatest } from "../../../sdk/typescript/src/protocol/names.js";
import { permissionDenied } from "../../platform/errors.js";
import { fitting, pageSizeOf } from "../../platform/page_offset.js";
import type { Caller, Principal } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import { Turns } from "../../platform/turns.js";
import { toSummary } from "../convert.js";
import type { InvocationDeps } from "../deps.js";
import { listRequest } from "../requests.js";
import type { ListFilter, StoredInvocation } from "../store.js";

/** Rows that one page of a filtered listing looks at before it answers with what it has. */
const LIST_SCAN_ROWS = 100_000;
/** What an invocation of a page takes beside its texts. */
const ITEM_BYTES = 200;
/** Listings that one process has under way, of which one reads. */
const MOST_LISTINGS = 1_000;

export function listHandler(deps: InvocationDeps): Pick<InvocationServiceImplementation<Caller>, "listInvocations"> {
  const { offsets, catalog } = deps;
  const turns = new Turns(MOST_LISTINGS, "listings");
  return {
    async listInvocations(message, { principal, signal }) {
      const request = parse(listRequest, withinScope(message, principal));
      const { projectId, latestVersionId } = await catalog.resolveProject(
        { projectName: request.projectName },
        { signal },
      );
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
      const { items, position } = await readPage(deps, turns, filter, before, pageSizeOf(request.pageSize), signal);
      const page = fitting(items, itemBytes);
      const last = page.length < items.length ? (page.at(-1)?.identity.id ?? null) : position;
      return { invocations: page.map(toSummary), nextOffset: last === null ? "" : offsets.encode(listing, last) };
    },
  };
}

/** In parts, between which others have their turn, and the connection to the database. */
async function readPage(
  { db, store }: InvocationDeps,
  turns: Turns,
  filter: ListFilter,
  before: string | null,
  pageSize: number,
  signal: AbortSignal,
): Promise<{ items: StoredInvocation[]; position: string | null }> {
  const isFiltered = filter.statuses.length > 0 || filter.versionId !== "";
  const items: StoredInvocation[] = [];
  let position = before;
  for (let looked = 0; ; ) {
    const read = () => db.read((tx) => store.list(tx, filter, position, pageSize - items.length));
    const part = await turns.run(read, signal);
    items.push(...part.items);
    position = part.position;
    looked += part.looked;
    if (position === null || items.length === pageSize) return { items, position };
    if (isFiltered && looked >= LIST_SCAN_ROWS) return { items, position };
  }
}

/** Its size in a message, roughly. */
function itemBytes({ identity, life }: StoredInvocation): number {
  return ITEM_BYTES + identity.functionName.length + identity.projectName.length + Buffer.byteLength(life.error);
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

/** Who may call what: one table for all servers, and what of it lies in a request. */
import { ApiKeyRole } from "../../../gen/multinode/registry/v1/api_key_role.pb.js";
import { isProjectName } from "../../../sdk/typescript/src/protocol/names.js";
import { permissionDenied, projectDoesNotExist } from "../errors.js";
import type { Principal, PrincipalKind } from "./principal.js";

export interface Access {
  readonly kinds: readonly PrincipalKind[];
  /** The least role of an API key. */
  readonly role?: ApiKeyRole;
}

/** By the full name of a service, and by "/service/method" where a method differs from its service. */
export type AccessTable = Readonly<Record<string, Access>>;

const INSIDE: Access = { kinds: ["service"] };

export const ACCESS: AccessTable = {
  "multinode.registry.v1.RegistryService": forKeys(ApiKeyRole.DEPLOY),
  "/multinode.registry.v1.RegistryService/GetProject": forKeys(ApiKeyRole.READ),
  "/multinode.registry.v1.RegistryService/ListProjects": forKeys(ApiKeyRole.READ),
  "/multinode.registry.v1.RegistryService/GetVersion": forKeys(ApiKeyRole.READ),
  "/multinode.registry.v1.RegistryService/ListVersions": forKeys(ApiKeyRole.READ),
  "/multinode.registry.v1.RegistryService/GetFunction": forKeys(ApiKeyRole.READ),
  "multinode.registry.v1.ApiKeyService": forKeys(ApiKeyRole.ADMIN),
  "multinode.registry.v1.CatalogService": INSIDE,
  "multinode.invocation.v1.InvocationService": forKeysAndExecutions(ApiKeyRole.INVOKE),
  "/multinode.invocation.v1.InvocationService/GetInvocation": forKeysAndExecutions(ApiKeyRole.READ),
  "/multinode.invocation.v1.InvocationService/ListInvocations": forKeysAndExecutions(ApiKeyRole.READ),
  "/multinode.invocation.v1.InvocationService/WatchInvocations": forKeysAndExecutions(ApiKeyRole.READ),
  "multinode.invocation.v1.LogService": forKeys(ApiKeyRole.READ),
  "multinode.invocation.v1.DispatchService": INSIDE,
  "multinode.invocation.v1.TeardownService": INSIDE,
  "multinode.scheduler.v1.SchedulerService": forKeys(ApiKeyRole.ADMIN),
  "/multinode.scheduler.v1.SchedulerService/BuildImage": forKeys(ApiKeyRole.DEPLOY),
  "multinode.scheduler.v1.WorkerService": { kinds: ["worker"] },
  "multinode.event.v1.EventService": INSIDE,
};

function forKeys(role: ApiKeyRole): Access {
  return { kinds: ["key"], role };
}

function forKeysAndExecutions(role: ApiKeyRole): Access {
  return { kinds: ["key", "execution"], role };
}

/** @throws Refusal PermissionDenied. `path`: "/service/method". */
export function requireAccess(table: AccessTable, path: string, principal: Principal): void {
  const service = path.slice(1, path.indexOf("/", 1));
  const access = table[path] ?? table[service];
  if (!access?.kinds.includes(principal.kind)) throw permissionDenied(`this credential may not call ${path}`);
  const needed = access.role ?? ApiKeyRole.UNSPECIFIED;
  if (principal.kind !== "key" || (isKnown(principal.role) && principal.role >= needed)) return;
  const role = roleName(needed);
  throw permissionDenied(`this API key has the role ${roleName(principal.role)}, and ${path} needs ${role}`, { role });
}

/** A role that is newer than this program may be smaller than its number says. */
function isKnown(role: number): boolean {
  return Object.values<number>(ApiKeyRole).includes(role);
}

function roleName(role: ApiKeyRole): string {
  return Object.entries(ApiKeyRole).find(([, value]) => value === role)?.[0] ?? String(role);
}

/** @throws Refusal ProjectDoesNotExist where a request names another project than the one that its credential is for. */
export function requireProject(principal: Principal, request: unknown): void {
  const { projectName = "" } = request as { readonly projectName?: string };
  // What is no name at all is for the handler to refuse.
  if (isProjectName(projectName) && !isProjectOf(principal, projectName)) throw projectDoesNotExist(projectName);
}

/** Whether a project exists for who calls, as far as the credential says. */
export function isProjectOf(principal: Principal, projectName: string): boolean {
  if (principal.kind === "execution") return principal.projectName === projectName;
  return principal.kind !== "key" || principal.projectName === "" || principal.projectName === projectName;
}

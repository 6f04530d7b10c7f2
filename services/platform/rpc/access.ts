/** Who may call which service: one table for all servers. */
import type { PrincipalKind } from "./principal.js";

const INSIDE: readonly PrincipalKind[] = ["service"];
const KEYS: readonly PrincipalKind[] = ["key"];
const KEYS_AND_EXECUTIONS: readonly PrincipalKind[] = ["key", "execution"];

export const ACCESS: Readonly<Record<string, readonly PrincipalKind[]>> = {
  "multinode.registry.v1.RegistryService": KEYS,
  "multinode.registry.v1.ApiKeyService": KEYS,
  "multinode.registry.v1.CatalogService": INSIDE,
  "multinode.invocation.v1.InvocationService": KEYS_AND_EXECUTIONS,
  "multinode.invocation.v1.LogService": KEYS,
  "multinode.invocation.v1.DispatchService": INSIDE,
  "multinode.invocation.v1.TeardownService": INSIDE,
  "multinode.scheduler.v1.SchedulerService": KEYS,
  "multinode.scheduler.v1.WorkerService": ["worker"],
  "multinode.event.v1.EventService": INSIDE,
};

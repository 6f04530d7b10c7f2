/** What an embedded server offers, and what it keeps between its runs. */
import { randomBytes } from "node:crypto";
import { InvocationServiceDefinition } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LogServiceDefinition } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import { ApiKeyServiceDefinition } from "../../gen/multinode/registry/v1/api_key_service.pb.js";
import { RegistryServiceDefinition } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { SchedulerServiceDefinition } from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import { WorkerServiceDefinition } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import type { IdSource } from "../platform/ids.js";
import { keptFile } from "../platform/store/whole_file.js";

/** What is reached from outside. */
export const PUBLIC_SERVICES = {
  registry: RegistryServiceDefinition,
  apiKeys: ApiKeyServiceDefinition,
  invocations: InvocationServiceDefinition,
  logs: LogServiceDefinition,
  operators: SchedulerServiceDefinition,
  workers: WorkerServiceDefinition,
} as const;

export interface StableSecrets {
  /** The same after a restart, so that what was leased before can be told from what others hold. */
  readonly schedulerId: string;
  /** Of the registry. */
  readonly registry: Uint8Array;
}

export async function stableSecrets(file: string, ids: IdSource): Promise<StableSecrets> {
  // The key of the registry's secret says what it was for at first: data folders have it.
  const make = () => JSON.stringify({ schedulerId: ids.next("sch"), pageOffsets: randomBytes(32).toString("base64") });
  const text = String(await keptFile(file, make));
  const { schedulerId, pageOffsets } = JSON.parse(text) as { schedulerId: string; pageOffsets: string };
  return { schedulerId, registry: Buffer.from(pageOffsets, "base64") };
}

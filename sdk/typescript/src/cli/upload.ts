import { randomUUID } from "node:crypto";
import { FunctionOptions, type FunctionSpec } from "../../../../gen/multinode/registry/v1/function.pb.js";
import {
  type DeepPartial,
  ProjectPolicy,
  type UploadBundleRequest,
} from "../../../../gen/multinode/registry/v1/registry_service.pb.js";
import type { Archive } from "../bundle/archive.js";
import type { ProjectBundle } from "../bundle/bundle_project.js";
import type { MultinodeClient } from "../client.js";
import { LIMITS } from "../protocol/limits.js";

/** Longest time that sending a bundle may take. */
const UPLOAD_TIMEOUT_MS = 10 * 60_000;

/** What is to be with the project beforehand. */
export type ProjectDemand = "MUST_EXIST" | "CREATE_IF_MISSING" | "MUST_BE_NEW";

export interface UploadOptions {
  readonly projectName: string;
  readonly demand: ProjectDemand;
  readonly signal: AbortSignal;
}

/** Sends a bundle and makes a version of it. Answers the id of the version. */
export async function uploadVersion(
  client: Pick<MultinodeClient, "registry">,
  bundle: ProjectBundle,
  { projectName, demand, signal }: UploadOptions,
): Promise<string> {
  const uploadSignal = AbortSignal.any([signal, AbortSignal.timeout(UPLOAD_TIMEOUT_MS)]);
  await client.registry.uploadBundle(chunksOf(bundle.archive), { signal: uploadSignal });
  const { version } = await client.registry.createVersion(
    {
      projectName,
      projectPolicy: ProjectPolicy[demand],
      requestId: randomUUID(),
      code: {
        source: { $case: "bundle", value: { digest: bundle.archive.digest } },
        environment: { ...bundle.environment },
      },
      functions: bundle.functions.map(
        ({ functionName, options, inputSchema, outputSchema }): FunctionSpec => ({
          functionName,
          options: FunctionOptions.fromPartial(options),
          inputSchema,
          outputSchema,
        }),
      ),
    },
    { signal },
  );
  return version?.versionId ?? "";
}

async function* chunksOf({ bytes, digest }: Archive): AsyncGenerator<DeepPartial<UploadBundleRequest>> {
  for (let start = 0; start < bytes.length || start === 0; start += LIMITS.uploadChunkBytes) {
    const chunk = Buffer.from(bytes.subarray(start, start + LIMITS.uploadChunkBytes));
    yield { digest: start === 0 ? digest : "", chunk };
  }
}

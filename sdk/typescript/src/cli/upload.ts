import { randomUUID } from "node:crypto";
import { FunctionOptions, type FunctionSpec } from "../../../../gen/multinode/registry/v1/function.pb.js";
import {
  type DeepPartial,
  ProjectPolicy,
  type UploadBundleRequest,
} from "../../../../gen/multinode/registry/v1/registry_service.pb.js";
import type { Archive } from "../bundle/archive.js";
import type { ProjectBundle } from "../bundle/bundle_project.js";
import type { MultinodeClient } from "../client/client.js";
import { BundleDoesNotExist, ProjectAlreadyExists, ProjectDoesNotExist } from "../errors.js";
import { LIMITS } from "../protocol/limits.js";

/** Longest time that sending a bundle may take. */
const UPLOAD_TIMEOUT_MS = 10 * 60_000;

/** What is to be with the project beforehand. */
export type ProjectDemand = "MUST_EXIST" | "CREATE_IF_MISSING" | "MUST_BE_NEW";

export interface UploadOptions {
  readonly projectName: string;
  readonly demand: ProjectDemand;
  readonly signal: AbortSignal;
  /** Called with what the build of an image prints, in parts that may end anywhere. */
  readonly onBuildOutput?: (text: string) => void;
}

type Client = Pick<MultinodeClient, "registry" | "scheduler">;

/** Sends a bundle, has its image built if it has one, and makes a version of it. Answers the id of the version. */
export async function uploadVersion(client: Client, bundle: ProjectBundle, options: UploadOptions): Promise<string> {
  const { projectName, demand, signal } = options;
  if (bundle.context !== undefined) {
    await checkDemand(client, options);
    await buildImage(client, bundle.context, options);
    // The build may have taken longer than what no version uses is kept.
    await upload(client, bundle.context, signal);
  }
  await upload(client, bundle.archive, signal);
  const { version } = await client.registry.createVersion(
    {
      projectName,
      projectPolicy: ProjectPolicy[demand],
      requestId: randomUUID(),
      code: {
        source: { $case: "bundle", value: { digest: bundle.archive.digest } },
        environment: { ...bundle.environment },
        contextDigest: bundle.context?.digest,
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

/** Before a build, which takes long, is begun in vain. */
async function checkDemand(client: Client, { projectName, demand, signal }: UploadOptions): Promise<void> {
  const exists = await client.registry.getProject({ projectName }, { signal }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ProjectDoesNotExist && demand !== "MUST_EXIST") return false;
      throw error;
    },
  );
  if (exists && demand === "MUST_BE_NEW") throw new ProjectAlreadyExists(`project "${projectName}" already exists`);
}

/** Asks for the build first: a server that builds no images says so, and one that has the image needs nothing. */
async function buildImage(client: Client, context: Archive, { signal, onBuildOutput }: UploadOptions): Promise<void> {
  const follow = async () => {
    const messages = client.scheduler.buildImage({ contextDigest: context.digest }, { signal });
    for await (const { output } of messages) if (output !== "") onBuildOutput?.(output);
  };
  try {
    await follow();
  } catch (error) {
    if (!(error instanceof BundleDoesNotExist)) throw error;
    await upload(client, context, signal);
    await follow();
  }
}

async function upload(client: Client, archive: Archive, signal: AbortSignal): Promise<void> {
  const uploadSignal = AbortSignal.any([signal, AbortSignal.timeout(UPLOAD_TIMEOUT_MS)]);
  await client.registry.uploadBundle(chunksOf(archive), { signal: uploadSignal });
}

async function* chunksOf({ bytes, digest }: Archive): AsyncGenerator<DeepPartial<UploadBundleRequest>> {
  for (let start = 0; start < bytes.length || start === 0; start += LIMITS.uploadChunkBytes) {
    const chunk = Buffer.from(bytes.subarray(start, start + LIMITS.uploadChunkBytes));
    yield { digest: start === 0 ? digest : "", chunk };
  }
}

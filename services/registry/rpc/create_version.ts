import type { Version } from "../../../gen/multinode/registry/v1/function.pb.js";
import type {
  CreateVersionRequest,
  CreateVersionResponse,
} from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { projectDoesNotExist } from "../../platform/errors.js";
import { bundleDoesNotExist } from "../bundles.js";
import { forgotten, type RegistryContext } from "../context.js";
import { toVersion } from "../convert.js";
import { decideVersion } from "../domain/version_decision.js";
import type { NewVersion } from "../store.js";
import { parseVersionRequest, type VersionCommand } from "../version_request.js";

export function createVersion(context: RegistryContext) {
  const { store, bundles, bus, clock, ids, seal } = context;
  return async (
    request: CreateVersionRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<CreateVersionResponse> => {
    const command = sealedDigest(context, await parseVersionRequest(request, signal));
    const { projectName, code, functions, requestId, requestDigest } = command;
    const bundle = code.source?.$case === "bundle" ? code.source.value.digest : undefined;
    for (const digest of [bundle, code.contextDigest]) {
      if (digest !== undefined && (await bundles.keep(digest)) === undefined) throw bundleDoesNotExist(digest);
    }
    const nowMs = clock.now();
    const versionId = ids.next("ver");
    const version: NewVersion = {
      versionId,
      projectName,
      newProjectId: ids.next("prj"),
      code: seal.close(versionId, code),
      functions,
      createTimeMs: nowMs,
      requestId,
      requestDigest,
      forgetRequestsBeforeMs: nowMs - LIMITS.idempotencyWindowMs,
    };
    const decision = await store.createVersion(version, (situation) => decideVersion(command, situation, nowMs));
    const isNew = decision.kind !== "answer-earlier";
    if (isNew) bus.publish({ $case: "project", value: { projectName } });
    // Whoever starts after the answer gets this version.
    await forgotten(context);
    if (!isNew) return { version: await loadVersion(context, projectName, decision) };
    return { version: toVersion(version, functions) };
  };
}

/** What a request holds is told apart by a digest that hints at nothing: it is kept, and values are secrets. */
function sealedDigest({ seal }: RegistryContext, command: VersionCommand): VersionCommand {
  return { ...command, requestDigest: seal.digest(command.requestDigest) };
}

async function loadVersion(
  { store, versionFunctions }: RegistryContext,
  projectName: string,
  { versionId }: { readonly versionId: string },
): Promise<Version> {
  const version = await store.findVersion(versionId);
  const loaded = await versionFunctions.of(versionId);
  if (version === undefined || loaded === undefined) throw projectDoesNotExist(projectName); // Removed meanwhile.
  return toVersion(version, loaded.functions.values());
}

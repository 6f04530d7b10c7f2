/** Records as messages. */
import type { ApiKey } from "../../gen/multinode/registry/v1/api_key_service.pb.js";
import type { Code, FunctionSpec, Project, Version } from "../../gen/multinode/registry/v1/function.pb.js";
import type { ApiKeyRecord, ProjectRecord, VersionRecord } from "./store.js";

export function toProject({ projectName, latestVersionId, createTimeMs, isDeleting }: ProjectRecord): Project {
  return { projectName, latestVersionId, createTimeMs, deleting: isDeleting };
}

export function toVersion(
  version: Pick<VersionRecord, "versionId" | "projectName" | "code" | "createTimeMs">,
  functions: Iterable<FunctionSpec>,
): Version {
  const { versionId, projectName, code, createTimeMs } = version;
  return { versionId, projectName, code: withoutValues(code), functions: [...functions], createTimeMs };
}

/** Environment values are write-only. */
function withoutValues(code: Code): Code {
  const names = Object.keys(code.environment);
  return { ...code, environment: Object.fromEntries(names.map((name) => [name, ""])) };
}

export function toApiKey(key: ApiKeyRecord): ApiKey {
  const { keyId, displayName, role, projectName, createTimeMs, expireTimeMs, revokeTimeMs } = key;
  return { keyId, displayName, role, projectName, createTimeMs, expireTimeMs, revokeTimeMs };
}

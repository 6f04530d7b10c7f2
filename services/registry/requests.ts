/** Requests of the registry as checked commands. Each is refused for all of its bad fields at once. */
import { z } from "zod";
import { ApiKeyRole } from "../../gen/multinode/registry/v1/api_key_role.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import {
  digestField,
  functionNameField,
  idField,
  projectNameField,
  text,
  versionIdField,
} from "../platform/rpc/validation.js";

/** Neither control characters, nor line ends, nor invisible or unassigned ones. */
const PRINTABLE = /^[^\p{C}\p{Zl}\p{Zp}]*$/u;

export const projectRequest = z.object({ projectName: projectNameField });

export const versionRequest = z.object({ projectName: projectNameField, versionId: versionIdField });

export const functionRequest = z.object({
  projectName: projectNameField,
  versionId: versionIdField,
  functionName: functionNameField,
});

export const codeRequest = z.object({ versionId: idField("ver") });

export const bundleRequest = z.object({ digest: digestField });

export const usedBundlesRequest = z.object({ digests: z.array(digestField).max(LIMITS.maxPageSize) });

export const uploadChunk = z.object({
  chunk: z
    .instanceof(Uint8Array)
    .refine((chunk) => chunk.byteLength <= LIMITS.uploadChunkBytes, `are more than ${LIMITS.uploadChunkBytes}`),
});

/** Names and ids are not checked here: each item has its own outcome. */
export const resolveRequest = z.object({
  functions: z
    .array(z.object({ projectName: z.string(), versionId: z.string(), functionName: z.string() }))
    .min(1)
    .max(LIMITS.startsPerBatch),
});

const ROLES: readonly ApiKeyRole[] = Object.values(ApiKeyRole).filter((role) => role > ApiKeyRole.UNSPECIFIED);

const roleField = z
  .number()
  .transform((role) => role || ApiKeyRole.ADMIN)
  .refine((role): role is ApiKeyRole => ROLES.includes(role as ApiKeyRole), "is not a role");

export const createApiKeyRequest = z
  .object({
    displayName: text(1, LIMITS.apiKeyNameLength).refine(
      (name) => PRINTABLE.test(name) && name.trim() !== "",
      "is not made of printable characters",
    ),
    role: roleField,
    projectName: z.literal("").or(projectNameField),
    lifetimeMs: z.number().int().min(LIMITS.apiKeyLifetimeMinMs).max(LIMITS.apiKeyLifetimeMs).optional(),
  })
  .superRefine(({ role, projectName }, context) => {
    if (role !== ApiKeyRole.ADMIN || projectName === "") return;
    const message = "cannot be with the role ADMIN, which is for all projects";
    context.addIssue({ code: "custom", path: ["projectName"], input: projectName, message });
  });

export const revokeApiKeyRequest = z.object({ keyId: idField("key") });

/** Wire messages of this service as checked commands. */
import { z } from "zod";
import { Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import type { StartInvocationRequest } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { Arguments, type Payload } from "../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import {
  CBOR_CONTENT_TYPE,
  FUNCTION_NAME_RULE,
  isFunctionName,
  isId,
  isLatest,
  isProjectName,
  JSON_CONTENT_TYPE,
  PROJECT_NAME_RULE,
} from "../../sdk/typescript/src/protocol/names.js";
import { badRequest, type FieldViolation, Refusal } from "../platform/errors.js";
import {
  functionNameField,
  idField,
  projectNameField,
  show,
  text,
  versionIdField,
} from "../platform/rpc/validation.js";
import type { LifeStatus } from "./domain/life.js";
import { statusOf } from "./sql/codes.js";

/** First three bits of a CBOR item: its major type. */
const CBOR_LIST = 4;
const CBOR_OBJECT = 5;

export interface StartCommand {
  readonly projectName: string;
  /** Empty: the latest. */
  readonly versionId: string;
  readonly functionName: string;
  readonly arguments: Arguments;
  readonly encodedArguments: Uint8Array;
  readonly parentId: string | null;
  readonly idempotencyKey: string | null;
  readonly ttlMs: number | null;
}

/** Whose function calls, where the caller is inside one: what it leaves out is taken from there. */
export interface StartScope {
  readonly projectName: string;
  readonly versionId: string;
  readonly invocationId: string;
}

/** Checked by hand and not by a schema, since a batch brings a thousand of them. */
export function parseStart(
  request: StartInvocationRequest,
  scope: StartScope | undefined,
  payloadBytes: number,
): StartCommand {
  const violations: FieldViolation[] = [];
  const bad = (field: string, value: unknown, rule: string) =>
    violations.push({ field, description: `${show(value)} ${rule}` });

  const projectName = request.projectName === "" && scope !== undefined ? scope.projectName : request.projectName;
  if (!isProjectName(projectName)) bad("project_name", projectName, `is not ${PROJECT_NAME_RULE}`);
  if (!isFunctionName(request.functionName)) bad("function_name", request.functionName, `is not ${FUNCTION_NAME_RULE}`);
  const versionId = request.versionId === "" && scope !== undefined ? scope.versionId : request.versionId;
  if (!isLatest(versionId) && !isId("ver", versionId)) {
    bad("version_id", versionId, 'is neither "latest" nor "ver-" and 26 characters');
  } else if (scope !== undefined && versionId !== scope.versionId) {
    bad(
      "version_id",
      versionId,
      `is not ${scope.versionId}, the caller's own: a function calls those of its own version`,
    );
  }
  const parentId = request.parentInvocationId === "" ? (scope?.invocationId ?? "") : request.parentInvocationId;
  if (parentId !== "" && !isId("inv", parentId)) {
    bad("parent_invocation_id", parentId, 'is not an identifier: "inv-" and 26 characters');
  }
  const key = request.idempotencyKey;
  if (key.length > LIMITS.idempotencyKeyLength) {
    bad("idempotency_key", key, `has more than ${LIMITS.idempotencyKeyLength} characters`);
  } else if (key.includes("\0") || !key.isWellFormed()) {
    bad("idempotency_key", key, "holds a NUL character or half of a surrogate pair");
  }
  const ttl = request.ttlMs;
  if (ttl !== undefined && (ttl < 1 || ttl > LIMITS.ttlMs)) bad("ttl_ms", ttl, `is not from 1 to ${LIMITS.ttlMs}`);
  checkPayload("arguments.positional", request.arguments?.positional, CBOR_LIST, violations);
  checkPayload("arguments.named", request.arguments?.named, CBOR_OBJECT, violations);
  if (violations.length > 0) throw badRequest(violations);

  const encodedArguments = Arguments.encode(request.arguments ?? Arguments.fromPartial({})).finish();
  checkInputSize(request.arguments, payloadBytes);
  return {
    projectName,
    versionId: isLatest(versionId) ? "" : versionId,
    functionName: request.functionName,
    arguments: request.arguments ?? Arguments.fromPartial({}),
    encodedArguments,
    parentId: parentId === "" ? null : parentId,
    idempotencyKey: key === "" ? null : key,
    ttlMs: ttl ?? null,
  };
}

export function inputBytes(args: Arguments | undefined): number {
  return (args?.positional?.data.byteLength ?? 0) + (args?.named?.data.byteLength ?? 0);
}

function checkInputSize(args: Arguments | undefined, limit: number): void {
  const size = inputBytes(args);
  if (size <= limit) return;
  throw new Refusal("FunctionInputSizeLimitExceeded", `the input has ${size} bytes, more than the limit of ${limit}`, {
    metadata: { size: String(size), limit: String(limit) },
  });
}

function checkPayload(
  field: string,
  payload: Payload | undefined,
  cborType: typeof CBOR_LIST | typeof CBOR_OBJECT,
  violations: FieldViolation[],
): void {
  if (payload === undefined) return;
  const what = cborType === CBOR_LIST ? "a list" : "an object";
  if (payload.contentType === CBOR_CONTENT_TYPE) {
    if ((payload.data[0] ?? 0) >> 5 !== cborType) violations.push({ field, description: `is not ${what} in CBOR` });
  } else if (payload.contentType === "" || payload.contentType === JSON_CONTENT_TYPE) {
    const value = parseJson(payload.data);
    const fits = cborType === CBOR_LIST ? Array.isArray(value) : isObject(value);
    if (!fits) violations.push({ field, description: `is not ${what} in JSON` });
  } else {
    const description = `${show(payload.contentType)} is not one of ${JSON_CONTENT_TYPE}, ${CBOR_CONTENT_TYPE}`;
    violations.push({ field: `${field}.content_type`, description });
  }
}

/** A byte order mark is no JSON, for the worker neither. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(data));
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What every request about one invocation holds. */
const oneInvocation = {
  invocationId: idField("inv"),
  projectName: z.literal("").or(projectNameField),
  functionName: z.literal("").or(functionNameField),
  versionId: z.literal("").or(idField("ver")),
};

export const getRequest = z.object(oneInvocation);
export const cancelRequest = z.object(oneInvocation);
export type OneInvocation = z.infer<typeof getRequest>;

const timeField = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional();

/** Without the two that stand for none and for an unknown one. */
const STATUS_NUMBERS: readonly number[] = Object.values(Status).filter((code) => code > Status.UNSPECIFIED);

const statusField = z
  .number()
  .refine((code) => STATUS_NUMBERS.includes(code), "is not a status")
  .transform((code): LifeStatus => statusOf(code));

export const listRequest = z.object({
  projectName: projectNameField,
  functionName: z.literal("").or(functionNameField),
  versionId: versionIdField,
  statuses: z.array(statusField).max(STATUS_NUMBERS.length),
  parentInvocationId: z.literal("").or(idField("inv")),
  createdFromMs: timeField,
  createdBeforeMs: timeField,
  pageSize: z.number().int().min(0),
  offset: text(0, 1_000),
});

const logs = { ...oneInvocation, executionId: z.literal("").or(idField("exe")) };

export const listLogsRequest = z.object({ ...logs, pageSize: z.number().int().min(0), offset: text(0, 1_000) });
export const followLogsRequest = z.object(logs);

export const watchRequest = z.object({
  add: z
    .array(
      z.object({
        invocationId: idField("inv"),
        afterRevision: z.number().int().min(0),
        detail: z.number().int().min(0).max(2),
        until: z.number().int().min(0).max(2),
      }),
    )
    .max(LIMITS.watchTargetsPerMessage),
  remove: z.array(z.string()).max(LIMITS.watchTargetsPerMessage),
});

export const requestIdField = z.object({ requestId: text(0, LIMITS.idempotencyKeyLength) });

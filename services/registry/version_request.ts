/** The request of CreateVersion as a checked command. */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { Code, FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import { CreateVersionRequest, ProjectPolicy as Wire } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { badRequest } from "../platform/errors.js";
import {
  digestField,
  functionNameField,
  mapKey,
  parseAsync,
  projectNameField,
  SECRET_VALUE,
  text,
} from "../platform/rpc/validation.js";
import type { ProjectPolicy } from "./domain/version_decision.js";
import { functionOptions } from "./options.js";
import { createSchemaCheck, type SchemaCheck } from "./schema_check.js";

export interface VersionCommand {
  readonly projectName: string;
  readonly policy: ProjectPolicy;
  /** Empty: the request is not idempotent. */
  readonly requestId: string;
  /** The same for requests that ask for the same, in whatever order. */
  readonly requestDigest: string;
  readonly code: Code;
  /** By name, every default filled in. */
  readonly functions: readonly FunctionSpec[];
}

/** What a response needs beside the version. */
const RESPONSE_RESERVE_BYTES = 64 * 1024;
const VARIABLE_NAME = /^[A-Za-z0-9_]+$/;
/** The field is reserved: no runtime could run it. */
const IMAGE_IS_REFUSED =
  "is refused, since code comes as a bundle only: for an image of its own deploy a folder with a Dockerfile";

const POLICIES: ReadonlyMap<number, ProjectPolicy> = new Map([
  [Wire.UNSPECIFIED, "must-exist"],
  [Wire.MUST_EXIST, "must-exist"],
  [Wire.CREATE_IF_MISSING, "create-if-missing"],
  [Wire.MUST_BE_NEW, "must-be-new"],
]);

export async function parseVersionRequest(message: CreateVersionRequest, signal: AbortSignal): Promise<VersionCommand> {
  const { projectName, projectPolicy, requestId, code, functions } = await parseAsync(versionRequest(signal), message);
  const content: CreateVersionRequest = { projectName, projectPolicy, requestId: "", code, functions };
  const encoded = CreateVersionRequest.encode(content).finish();
  const limit = LIMITS.messageBytes - RESPONSE_RESERVE_BYTES;
  if (encoded.byteLength > limit) {
    const description = `the version has ${encoded.byteLength} bytes, which is above ${limit}`;
    throw badRequest([{ field: "functions", description }]);
  }
  return {
    projectName,
    policy: POLICIES.get(projectPolicy) ?? "must-exist",
    requestId,
    requestDigest: createHash("sha256").update(encoded).digest("hex"),
    code,
    functions:
      code.contextDigest === undefined
        ? functions
        : functions.map((spec) => ({ ...spec, contextDigest: code.contextDigest })),
  };
}

function versionRequest(signal: AbortSignal) {
  return z.object({
    projectName: projectNameField,
    code,
    functions: functions(createSchemaCheck(signal)),
    projectPolicy: z.custom<Wire>((value) => POLICIES.has(Number(value)), "is not a policy"),
    requestId: text(0, LIMITS.idempotencyKeyLength),
  });
}

const environment = z
  .record(z.string(), z.string())
  .superRefine((variables, context) => {
    const names = Object.keys(variables);
    const refuse = (message: string, path: string[]) =>
      context.addIssue({ code: "custom", message, path, params: SECRET_VALUE });
    let bytes = 0;
    for (const name of names) {
      const value = variables[name] ?? "";
      bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
      if (!VARIABLE_NAME.test(name)) refuse('the name is not made of letters, digits and "_"', [mapKey(name)]);
      if (value.includes("\0")) refuse("the value holds a NUL character", [mapKey(name)]);
      if (!value.isWellFormed()) refuse("the value holds half of a surrogate pair", [mapKey(name)]);
    }
    if (names.length > LIMITS.environmentVariables) {
      refuse(`${names.length} variables are more than ${LIMITS.environmentVariables}`, []);
    }
    if (bytes > LIMITS.environmentBytes) {
      refuse(`names and values have ${bytes} bytes, which is above ${LIMITS.environmentBytes}`, []);
    }
  })
  .transform((variables) => Object.fromEntries(Object.entries(variables).toSorted(([a], [b]) => compare(a, b))));

const code: z.ZodType<Code> = z.object({
  source: z.discriminatedUnion("$case", [
    z.object({ $case: z.literal("bundle"), value: z.object({ digest: digestField }) }),
    z.object({
      $case: z.literal("image"),
      value: z.object({ image: z.string().refine(() => false, IMAGE_IS_REFUSED) }),
    }),
  ]),
  environment,
  contextDigest: digestField.optional(),
});

function functions(checkSchema: SchemaCheck): z.ZodType<FunctionSpec[]> {
  const spec = z.object({
    functionName: functionNameField,
    options: functionOptions,
    inputSchema: jsonSchema(checkSchema),
    outputSchema: jsonSchema(checkSchema),
  });
  return z
    .array(spec)
    .min(1)
    .max(LIMITS.functionsPerVersion)
    .superRefine((specs, context) => {
      const indexes = new Map<string, number>();
      for (const [index, { functionName }] of specs.entries()) {
        const first = indexes.get(functionName);
        if (first === undefined) {
          indexes.set(functionName, index);
          continue;
        }
        const message = `is the name of functions[${first}] too`;
        context.addIssue({ code: "custom", path: [index, "functionName"], input: functionName, message });
      }
    })
    .transform((specs) => specs.toSorted((a, b) => compare(a.functionName, b.functionName)));
}

/** Empty: anything. */
function jsonSchema(check: SchemaCheck): z.ZodType<string> {
  return z.string().superRefine(async (schema, context) => {
    if (schema === "") return;
    const bytes = Buffer.byteLength(schema);
    const message = bytes > LIMITS.schemaBytes ? `has more than ${LIMITS.schemaBytes} bytes` : await check(schema);
    if (message !== undefined) context.addIssue({ code: "custom", input: schema, message });
  });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

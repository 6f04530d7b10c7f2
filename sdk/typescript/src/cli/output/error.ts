import { ProjectError } from "../../bundle/project_error.js";
import { MultinodeError, type Violation } from "../../errors.js";
import { CommandError, UsageError } from "../command_error.js";
import type { Io } from "../io.js";
import { paintFor } from "./paint.js";

export interface ErrorDescription {
  /** Name of what happened, such as "ProjectDoesNotExist". */
  readonly reason: string;
  readonly message: string;
  /** What to do next, one line. Empty where nothing can be said. */
  readonly hint: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly Violation[];
}

const KEY_HINT = 'Log in with another key; "multinode keys create" makes one, for who has the role admin.';

export const USAGE_HINT = 'Add "--help" to see what this command takes.';

/** Names that the command line was given, for hints. */
export interface GivenNames {
  readonly projectName?: string;
  readonly functionName?: string;
}

export function describeError(error: unknown, given: GivenNames = {}): ErrorDescription {
  if (error instanceof CommandError || error instanceof ProjectError) {
    const cause = error.cause instanceof MultinodeError ? error.cause : undefined;
    return {
      reason: error.reason,
      message: error.message,
      hint: error.hint,
      metadata: cause?.metadata ?? {},
      violations: cause?.violations ?? [],
    };
  }
  if (error instanceof MultinodeError) {
    const { reason, message, metadata, violations } = error;
    return { reason, message, hint: hintFor(error, given), metadata, violations };
  }
  const isError = error instanceof Error;
  return {
    reason: isError ? error.name : "Error",
    message: isError ? error.message : String(error),
    hint: error instanceof UsageError ? USAGE_HINT : "",
    metadata: {},
    violations: [],
  };
}

/** Writes an error for a person, or, for a program, as one JSON object. */
export function writeError(
  io: Io,
  error: unknown,
  options: { readonly json: boolean; readonly given?: GivenNames },
): void {
  const { reason, message, hint, metadata, violations } = describeError(error, options.given);
  if (options.json) {
    const details = {
      ...(hint === "" ? {} : { hint }),
      ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
      ...(violations.length === 0 ? {} : { violations }),
    };
    io.stderr.write(`${JSON.stringify({ error: { reason, message, ...details } })}\n`);
    return;
  }
  const paint = paintFor(io.stderr, io.env);
  io.stderr.write(`${paint.red(paint.bold("error"))} ${message}\n`);
  for (const { field, description } of violations) {
    if (!message.includes(description)) io.stderr.write(`      ${paint.bold(field)}: ${description}\n`);
  }
  if (hint !== "") io.stderr.write(`${paint.cyan("next ")} ${hint}\n`);
}

function hintFor({ reason, message, metadata, retryDelayMs }: MultinodeError, given: GivenNames): string {
  const { projectName = "P", functionName = "F" } = { ...given, ...metadata };
  switch (reason) {
    case "CredentialsMissingError":
      return 'Run "multinode login", or "multinode up" for a server of your own.';
    case "ApiKeyIsInvalid":
      return 'Run "multinode login" with a good key, or mend MULTINODE_API_KEY.';
    case "PermissionDenied":
      return metadata["role"] === undefined ? "" : KEY_HINT;
    case "ApiKeyDoesNotExist":
      return 'Run "multinode keys list" for the keys there are.';
    case "Unavailable":
      return hintForUnreachable(message);
    case "ProjectDoesNotExist":
      return 'Run "multinode list" for the projects there are.';
    case "VersionDoesNotExist":
    case "FunctionDoesNotExist":
      return `Run "multinode describe --project-name ${projectName}" for the versions and functions there are.`;
    case "InvocationDoesNotExist":
    case "ExecutionDoesNotExist":
      return `Run "multinode describe --project-name ${projectName} --function-name ${functionName}" for the newest invocations.`;
    case "ProjectIsBeingDeleted":
      return "Wait until the project is gone, or use another name.";
    case "IdempotencyKeyReused":
      return "Use another key, or the arguments that the key was first used with.";
    case "ResourceExhausted":
      return retryDelayMs === undefined ? "Try again later." : `Try again in ${Math.ceil(retryDelayMs / 1_000)} s.`;
    default:
      return "";
  }
}

const GRPC_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH";

function hintForUnreachable(message: string): string {
  if (/does not match certificate/i.test(message)) {
    return "Use an address whose host is one of the certificate's names, or give the server a certificate for this host.";
  }
  if (/certificate required/i.test(message)) {
    return "This address is for services only, which show a certificate of their own: use the address of the gateway.";
  }
  if (/certificate (has expired|is not yet valid)/i.test(message)) {
    return "Renew the server's certificate, or set the clock of this machine.";
  }
  if (/certificate|self-signed/i.test(message)) {
    // Where it is set, grpc-js looks at no other.
    const name = process.env[GRPC_ROOTS] === undefined ? "NODE_EXTRA_CA_CERTS" : GRPC_ROOTS;
    return `Set ${name} to the file of the authority that the server's certificate is of.`;
  }
  if (/Protocol error/i.test(message)) return "It may speak TLS there: try https:// in the address.";
  if (/SSL routines|EPROTO/i.test(message)) return "It may speak plain text there: try http:// in the address.";
  return 'Check that the server runs ("multinode up" starts one here) and that the address is right.';
}

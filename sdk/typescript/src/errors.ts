/**
 * Every error that the SDK throws of its own.
 *
 * A refusal by the server is thrown as the class that has the name of its reason, so `instanceof` and `error.reason` both
 * tell what happened. A failure of user code is no refusal: it is in the invocation, and `awaitResult`, `callRemote`, `map`
 * and `starmap` throw it as InvocationFailedError, InvocationCancelledError or InvocationTimedOutError.
 */
import type { Invocation } from "./invocation.js";
import type { Reason } from "./protocol/reasons.js";

/** One bad field of a request, or one bad option. */
export interface Violation {
  /** Path of the field, such as "arguments[0].url" or "cpu". */
  readonly field: string;
  /** What is wrong: the value and the bound. */
  readonly description: string;
}

export interface MultinodeErrorDetails {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly Violation[];
  /** Milliseconds after which to try again. */
  readonly retryDelayMs?: number | undefined;
  /** gRPC status code; absent for an error that was found on this side. */
  readonly code?: number | undefined;
  readonly cause?: unknown;
}

/** Base of all errors that the SDK throws of its own. */
export class MultinodeError extends Error {
  /** Name of what happened, such as "ProjectDoesNotExist". For a refusal it is one of the reasons of the API. */
  readonly reason: string;
  /** More about this occurrence, such as `projectName`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Every bad field, for bad input. */
  readonly violations: readonly Violation[];
  /** Milliseconds after which to try again, where the server says so. */
  readonly retryDelayMs: number | undefined;
  /** gRPC status code, or undefined for an error that was found on this side. */
  readonly code: number | undefined;
  /** Place of the input in `map` or `starmap` that this error belongs to, from 0. */
  declare inputIndex: number | undefined;
  /** The input in `map` or `starmap` that this error belongs to. */
  declare input: unknown;

  constructor(reason: string, message: string, details: MultinodeErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    // Not enumerable, as in the errors of the language: a printed error shows it once, in front of the message.
    Object.defineProperty(this, "name", { value: reason, configurable: true, writable: true });
    this.reason = reason;
    this.metadata = details.metadata ?? {};
    this.violations = details.violations ?? [];
    this.retryDelayMs = details.retryDelayMs;
    this.code = details.code;
  }
}

/** A class for one reason. Its type is written down: that of the class has all that Node adds to the classes of errors. */
function refusal(reason: Reason): new (message: string, details?: MultinodeErrorDetails) => MultinodeError {
  return class extends MultinodeError {
    constructor(message: string, details?: MultinodeErrorDetails) {
      super(reason, message, details);
    }
  };
}

/** A parameter or an option is out of its bounds; `violations` lists all of them. */
export class ParameterValidationError extends refusal("ParameterValidationError") {}
/** The offset was not given by this server for this listing. */
export class OffsetIsInvalid extends refusal("OffsetIsInvalid") {}
/** The encoded arguments are too large. */
export class FunctionInputSizeLimitExceeded extends refusal("FunctionInputSizeLimitExceeded") {}
/** The arguments do not match the function's input schema; `violations` says where. */
export class FunctionInputIsInvalid extends refusal("FunctionInputIsInvalid") {}
/** The archive is damaged, too large, or would write outside its folder. */
export class BundleIsInvalid extends refusal("BundleIsInvalid") {}
/** No API key, an unknown one, or one that was revoked. */
export class ApiKeyIsInvalid extends refusal("ApiKeyIsInvalid") {}
/** The credential is good, but not for this. */
export class PermissionDenied extends refusal("PermissionDenied") {}
/** There is no such project. */
export class ProjectDoesNotExist extends refusal("ProjectDoesNotExist") {}
/** There is no such version of the project. */
export class VersionDoesNotExist extends refusal("VersionDoesNotExist") {}
/** There is no such function in the version. */
export class FunctionDoesNotExist extends refusal("FunctionDoesNotExist") {}
/** There is no such invocation. */
export class InvocationDoesNotExist extends refusal("InvocationDoesNotExist") {}
/** There is no such execution. */
export class ExecutionDoesNotExist extends refusal("ExecutionDoesNotExist") {}
/** The parent that was named does not exist. */
export class ParentInvocationDoesNotExist extends refusal("ParentInvocationDoesNotExist") {}
/** There is no bundle with this digest. */
export class BundleDoesNotExist extends refusal("BundleDoesNotExist") {}
/** There is no such API key. */
export class ApiKeyDoesNotExist extends refusal("ApiKeyDoesNotExist") {}
/** There is no such worker. */
export class WorkerDoesNotExist extends refusal("WorkerDoesNotExist") {}
/** There is a project of this name already. */
export class ProjectAlreadyExists extends refusal("ProjectAlreadyExists") {}
/** The request id was used for another version. */
export class VersionAlreadyExists extends refusal("VersionAlreadyExists") {}
/** The idempotency key was used with another function or other arguments, or by another parent; nothing was started. */
export class IdempotencyKeyReused extends refusal("IdempotencyKeyReused") {}
/** The project is being deleted. */
export class ProjectIsBeingDeleted extends refusal("ProjectIsBeingDeleted") {}
/** The invocation is terminated: there is nothing left to cancel. */
export class InvocationIsAlreadyTerminated extends refusal("InvocationIsAlreadyTerminated") {}
/** The execution has finished. */
export class ExecutionHasAlreadyFinished extends refusal("ExecutionHasAlreadyFinished") {}
/** A write by an attempt that has been replaced. */
export class ExecutionIsNotCurrent extends refusal("ExecutionIsNotCurrent") {}
/** The server runs functions without containers, or builds no images. */
export class ImagesAreNotSupported extends refusal("ImagesAreNotSupported") {}
/** The image could not be built; the message says what the build ended with. */
export class ImageBuildFailed extends refusal("ImageBuildFailed") {}
/** Too much at once; `retryDelayMs` says when to try again. */
export class ResourceExhausted extends refusal("ResourceExhausted") {}
/** The server could not be reached, or is going away. Safe to try again. */
export class Unavailable extends refusal("Unavailable") {}

/** The class of each reason. */
export const ERROR_CLASSES: Readonly<
  Record<Reason, new (message: string, details?: MultinodeErrorDetails) => MultinodeError>
> = {
  ParameterValidationError,
  OffsetIsInvalid,
  FunctionInputSizeLimitExceeded,
  FunctionInputIsInvalid,
  BundleIsInvalid,
  ApiKeyIsInvalid,
  PermissionDenied,
  ProjectDoesNotExist,
  VersionDoesNotExist,
  FunctionDoesNotExist,
  InvocationDoesNotExist,
  ExecutionDoesNotExist,
  ParentInvocationDoesNotExist,
  BundleDoesNotExist,
  ApiKeyDoesNotExist,
  WorkerDoesNotExist,
  ProjectAlreadyExists,
  VersionAlreadyExists,
  IdempotencyKeyReused,
  ProjectIsBeingDeleted,
  InvocationIsAlreadyTerminated,
  ExecutionHasAlreadyFinished,
  ExecutionIsNotCurrent,
  ImagesAreNotSupported,
  ImageBuildFailed,
  ResourceExhausted,
  Unavailable,
};

/** Details of how an invocation ended. `invocation` is absent inside the function that is being interrupted. */
export interface InvocationErrorDetails {
  readonly invocation?: Invocation<unknown> | undefined;
  readonly cause?: unknown;
}

/** An invocation that did not succeed. */
abstract class InvocationError extends MultinodeError {
  /** The invocation as it finished. Undefined where the error interrupts a function that is running. */
  readonly invocation: Invocation<unknown> | undefined;
  constructor(reason: string, message: string, details: InvocationErrorDetails = {}) {
    super(reason, message, {
      cause: details.cause,
      metadata: details.invocation === undefined ? {} : { invocationId: details.invocation.id },
    });
    this.invocation = details.invocation;
  }
}

/** The function threw, was killed, or its worker was lost, in its last attempt. */
export class InvocationFailedError extends InvocationError {
  constructor(message: string, details?: InvocationErrorDetails) {
    super("InvocationFailedError", message, details);
  }
}

/** The invocation was cancelled. Inside a function: the reason of its signal, and what is thrown into a generator. */
export class InvocationCancelledError extends InvocationError {
  constructor(message = "the invocation was cancelled", details?: InvocationErrorDetails) {
    super("InvocationCancelledError", message, details);
  }
}

/** The invocation took too long. Inside a function: the reason of its signal, and what is thrown into a generator. */
export class InvocationTimedOutError extends InvocationError {
  constructor(message = "the invocation timed out", details?: InvocationErrorDetails) {
    super("InvocationTimedOutError", message, details);
  }
}

/** A URL or an API key is missing; `missing` says which. */
export class CredentialsMissingError extends MultinodeError {
  readonly missing: readonly ("apiUrl" | "apiKey")[];
  constructor(missing: readonly ("apiUrl" | "apiKey")[], message: string) {
    super("CredentialsMissingError", message);
    this.missing = missing;
  }
}

/** A function, a project folder or a call that is not as Multinode needs it; the message says what to change. */
export class DefinitionError extends MultinodeError {
  constructor(message: string, details?: MultinodeErrorDetails) {
    super("DefinitionError", message, details);
  }
}

/** A value that the function made, or was given, and that is not what its schema asks for. */
export class FunctionOutputIsInvalid extends MultinodeError {
  constructor(message: string, details?: MultinodeErrorDetails) {
    super("FunctionOutputIsInvalid", message, details);
  }
}

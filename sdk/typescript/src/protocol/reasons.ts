/** The reasons of refusals: the values of `google.rpc.ErrorInfo.reason`, and the gRPC status of each. */
import { Status } from "nice-grpc-common";

export const ERROR_DOMAIN = "multinode.dev";

export const REASON_STATUS = {
  ParameterValidationError: Status.INVALID_ARGUMENT,
  OffsetIsInvalid: Status.INVALID_ARGUMENT,
  FunctionInputSizeLimitExceeded: Status.INVALID_ARGUMENT,
  FunctionInputIsInvalid: Status.INVALID_ARGUMENT,
  BundleIsInvalid: Status.INVALID_ARGUMENT,
  ApiKeyIsInvalid: Status.UNAUTHENTICATED,
  PermissionDenied: Status.PERMISSION_DENIED,
  ProjectDoesNotExist: Status.NOT_FOUND,
  VersionDoesNotExist: Status.NOT_FOUND,
  FunctionDoesNotExist: Status.NOT_FOUND,
  InvocationDoesNotExist: Status.NOT_FOUND,
  ExecutionDoesNotExist: Status.NOT_FOUND,
  ParentInvocationDoesNotExist: Status.NOT_FOUND,
  BundleDoesNotExist: Status.NOT_FOUND,
  ApiKeyDoesNotExist: Status.NOT_FOUND,
  WorkerDoesNotExist: Status.NOT_FOUND,
  ProjectAlreadyExists: Status.ALREADY_EXISTS,
  VersionAlreadyExists: Status.ALREADY_EXISTS,
  IdempotencyKeyReused: Status.ALREADY_EXISTS,
  ProjectIsBeingDeleted: Status.FAILED_PRECONDITION,
  InvocationIsAlreadyTerminated: Status.FAILED_PRECONDITION,
  ExecutionHasAlreadyFinished: Status.FAILED_PRECONDITION,
  ExecutionIsNotCurrent: Status.FAILED_PRECONDITION,
  ImagesAreNotSupported: Status.FAILED_PRECONDITION,
  ImageBuildFailed: Status.FAILED_PRECONDITION,
  ResourceExhausted: Status.RESOURCE_EXHAUSTED,
  Unavailable: Status.UNAVAILABLE,
} as const;

export type Reason = keyof typeof REASON_STATUS;

export function isReason(text: string): text is Reason {
  return Object.hasOwn(REASON_STATUS, text);
}

/** Failures that no other attempt would change. */

const NON_RETRYABLE = Symbol.for("multinode.NonRetryableError");

/**
 * Thrown in a function, or extended by what is: another attempt would not change it. The invocation is FAILED, whatever
 * `maxRetries` says.
 */
export class NonRetryableError extends Error {
  readonly [NON_RETRYABLE] = true;

  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Whether it is a NonRetryableError, of this or another copy of the package. Never throws, whatever was thrown. */
export function isNonRetryable(thrown: unknown): boolean {
  try {
    return typeof thrown === "object" && thrown !== null && Reflect.get(thrown, NON_RETRYABLE) === true;
  } catch {
    return false;
  }
}

/** A failure that the command understands: it can say what to do next. Exit status 1. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  /** Name of what happened, for `--json`. */
  readonly reason: string;
  /** What to do about it, one line. */
  readonly hint: string;

  constructor(reason: string, message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.hint = hint;
  }
}

/** The command line was wrong. Exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The command did its work and the outcome is a failure that it has shown already. Exit status 1. */
export class QuietFailure extends Error {
  override readonly name = "QuietFailure";
}

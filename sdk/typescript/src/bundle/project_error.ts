/** A fault in the project folder that its author can mend. Nothing has been sent or changed when it is thrown. */
export class ProjectError extends Error {
  override readonly name = "ProjectError";
  readonly reason = "ProjectFolderIsInvalid";
  /** What to do about it, one line. */
  readonly hint: string;

  /** @param message what is wrong, one line where that is possible */
  constructor(message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
  }
}

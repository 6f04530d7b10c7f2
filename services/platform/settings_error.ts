/** A service cannot start before somebody changes its settings. */
export class SettingsError extends Error {
  /** A line for each setting that is wrong. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join("\n"), options);
    this.problems = problems;
  }
}

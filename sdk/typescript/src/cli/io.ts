/** What a command touches of the process that runs it, so that tests can stand in for a terminal. */
export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
  /** Asks a person; undefined where nobody can be asked. */
  readonly ask: ((question: string, options: { readonly hidden: boolean }) => Promise<string>) | undefined;
}

export interface Output {
  write(text: string): void;
  readonly isTerminal: boolean;
  /** Characters in one line of the terminal; 80 where there is none. */
  readonly columns: number;
}

/** Whether to colour what goes there: only on a terminal, and never where NO_COLOR is set (https://no-color.org). */
export function wantsColor(output: Output, env: Io["env"]): boolean {
  return output.isTerminal && !env["NO_COLOR"] && env["TERM"] !== "dumb";
}

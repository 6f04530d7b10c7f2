/** A function as the inspection found it: the fields of `registry.v1.FunctionSpec`, as plain JSON. */
export interface InspectedFunction {
  readonly functionName: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly inputSchema: string;
  readonly outputSchema: string;
}

/** What the inspecting process writes to its file descriptor 3, as one JSON text. */
export type InspectReport =
  | { readonly kind: "functions"; readonly functions: readonly InspectedFunction[] }
  /** The import of main threw. */
  | { readonly kind: "import_failed"; readonly error: ReportedError }
  /** The import worked, and what it exports is not a project. */
  | { readonly kind: "not_a_project"; readonly error: ReportedError };

export interface ReportedError {
  /** Name of its class, such as "TypeError". */
  readonly name: string;
  readonly message: string;
  /** Such as "ENOENT". Empty where it has none. */
  readonly code: string;
  /** Empty where it has none. */
  readonly stack: string;
}

/** File descriptor on which the report travels, so that what user code prints cannot be taken for it. */
export const REPORT_FD = 3;

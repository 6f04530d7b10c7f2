import { changedOptions, type ShownOptions } from "./function_options.js";
import type { Paint } from "./paint.js";
import { tableLines } from "./table.js";

/** A function of a version. Schemas are JSON text; empty: anything. */
export interface ShownFunction {
  readonly functionName: string;
  readonly options?: ShownOptions | undefined;
  readonly inputSchema: string;
  readonly outputSchema: string;
}

/** A table of functions with the options that are not the defaults. */
export function functionTable(functions: readonly ShownFunction[], paint: Paint): string[] {
  const rows = functions.map(({ functionName, options, inputSchema, outputSchema }) => [
    paint.bold(functionName),
    changedOptions(options),
    [inputSchema === "" ? "" : "input", outputSchema === "" ? "" : "output"].filter(Boolean).join(", ") || "-",
  ]);
  return tableLines(
    ["FUNCTION", "OPTIONS", "SCHEMAS"].map((title) => paint.dim(title)),
    rows,
  );
}

/** A function as JSON: options as on the wire, schemas as objects, absent where there is none. */
export function functionJson({
  functionName,
  options,
  inputSchema,
  outputSchema,
}: ShownFunction): Record<string, unknown> {
  return {
    functionName,
    options: options ?? {},
    ...(inputSchema === "" ? {} : { inputSchema: parse(inputSchema) }),
    ...(outputSchema === "" ? {} : { outputSchema: parse(outputSchema) }),
  };
}

function parse(schema: string): unknown {
  try {
    return JSON.parse(schema);
  } catch {
    return schema;
  }
}

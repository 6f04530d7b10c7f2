import { parseArgs } from "node:util";
import type { Measurement } from "./measurement.js";

export interface Arguments {
  readonly quick: boolean;
  readonly chosen: readonly Measurement[];
  /** Where to write the figures. */
  readonly jsonFile: string | undefined;
}

/** Throws an error that names what is wrong. */
export function parseArguments(args: readonly string[], all: readonly Measurement[]): Arguments {
  const { values } = parseArgs({
    args: [...args],
    options: { quick: { type: "boolean", default: false }, only: { type: "string" }, json: { type: "string" } },
  });
  const names = values.only?.split(",") ?? all.map(({ name }) => name);
  const chosen = names.map((name) => {
    const found = all.find((measurement) => measurement.name === name);
    if (found !== undefined) return found;
    throw new Error(`--only ${name}: the measurements are ${all.map((measurement) => measurement.name).join(", ")}`);
  });
  return { quick: values.quick, chosen, jsonFile: values.json };
}

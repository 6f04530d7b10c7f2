/** What a chaos program is asked for. */
import { parseArgs } from "node:util";

interface Extent {
  readonly rounds: number;
  readonly invocations: number;
}

export interface Extents {
  readonly long: Extent;
  readonly short: Extent;
  /** With workers in containers, where the program knows both runtimes. */
  readonly docker?: { readonly long: Extent; readonly short: Extent };
}

export interface ChaosArguments extends Extent {
  /** Docker: of those programs that can have it. */
  readonly runtime: "process" | "docker";
  readonly seed: number;
}

const MOST = 1_000_000;
const LARGEST_SEED = 2 ** 32 - 1;

/** @throws Error that names the argument, what was given, and what is possible */
export function parseChaosArguments(args: readonly string[], extents: Extents): ChaosArguments {
  const { values } = parseArgs({
    args: [...args],
    options: {
      short: { type: "boolean", default: false },
      rounds: { type: "string" },
      invocations: { type: "string" },
      seed: { type: "string" },
      runtime: { type: "string", default: "process" },
    },
  });
  const { runtime } = values;
  const isDocker = runtime === "docker";
  if (runtime !== "process" && !(isDocker && extents.docker !== undefined)) {
    const known = extents.docker === undefined ? "process" : "process or docker";
    throw new Error(`--runtime ${runtime}: this program knows ${known}`);
  }
  const { long, short } = (isDocker && extents.docker) || extents;
  const extent = values.short ? short : long;
  return {
    runtime,
    rounds: wholeNumber("rounds", values.rounds, 1, MOST) ?? extent.rounds,
    invocations: wholeNumber("invocations", values.invocations, 1, MOST) ?? extent.invocations,
    seed: wholeNumber("seed", values.seed, 0, LARGEST_SEED) ?? Math.floor(Math.random() * 2 ** 32),
  };
}

function wholeNumber(name: string, text: string | undefined, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new Error(`--${name} ${text}: a whole number from ${least} to ${most}`);
}

/** Options that several commands share, and what their values must look like. */
import { Argument, InvalidArgumentError, Option } from "commander";
import { DURATION_RULE, parseDurationMs } from "../definition/units.js";
import {
  FUNCTION_NAME_RULE,
  type IdPrefix,
  isFunctionName,
  isId,
  isLatest,
  isProjectName,
  PROJECT_NAME_RULE,
} from "../protocol/names.js";

export function projectNameOption(description = "the project"): Option {
  return new Option("-p, --project-name <name>", description).argParser((value) => {
    if (!isProjectName(value)) throw new InvalidArgumentError(`A project name is ${PROJECT_NAME_RULE}.`);
    return value;
  });
}

export function functionNameOption(): Option {
  return new Option("-f, --function-name <name>", "the function").argParser((value) => {
    if (!isFunctionName(value)) throw new InvalidArgumentError(`A function name is ${FUNCTION_NAME_RULE}.`);
    return value;
  });
}

export function versionIdOption(): Option {
  return new Option("--version-id <id>", 'the version, or "latest"').argParser((value) =>
    isLatest(value) ? "latest" : checkId("ver", value),
  );
}

export function invocationIdOption(): Option {
  return new Option("-i, --invocation-id <id>", "the invocation").argParser((value) => checkId("inv", value));
}

export function executionIdOption(): Option {
  return new Option("-e, --execution-id <id>", "only this execution").argParser((value) => checkId("exe", value));
}

export function keyIdArgument(): Argument {
  return new Argument("<key-id>", "the API key").argParser((value) => checkId("key", value));
}

export function jsonOption(description = "write JSON"): Option {
  return new Option("--json", description);
}

/** For options whose value is a duration; gives milliseconds. */
export function parseDuration(value: string): number {
  const durationMs = parseDurationMs(value);
  if (durationMs === undefined) throw new InvalidArgumentError(`It must be ${DURATION_RULE}.`);
  return durationMs;
}

/** For options whose value is a whole number in a range. */
export function parseWholeNumber(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return number;
  };
}

function checkId(prefix: IdPrefix, value: string): string {
  if (!isId(prefix, value)) {
    throw new InvalidArgumentError(`It must be an id: "${prefix}-" and 26 letters and digits.`);
  }
  return value;
}

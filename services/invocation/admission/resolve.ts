/** Finds the functions that are to be started, and checks the inputs against their schemas. */

import type { ResolvedFunction } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { decodeArguments } from "../../../sdk/typescript/src/codec.js";
import { Refusal } from "../../platform/errors.js";
import type { InvocationDeps } from "../deps.js";
import type { KnownFunction } from "../functions.js";
import type { StartCommand } from "../requests.js";
import { violationsOf } from "./schema_check.js";

export interface ResolvedStart {
  readonly command: StartCommand;
  readonly resolved: ResolvedFunction;
  readonly known: KnownFunction;
}

export async function resolveStarts(
  deps: InvocationDeps,
  commands: readonly (StartCommand | Refusal)[],
  signal: AbortSignal,
): Promise<(ResolvedStart | Refusal)[]> {
  const places = new Map<string, number>();
  const refs: { projectName: string; versionId: string; functionName: string }[] = [];
  for (const command of commands) {
    if (command instanceof Refusal || places.has(keyOf(command))) continue;
    places.set(keyOf(command), refs.length);
    refs.push({
      projectName: command.projectName,
      versionId: command.versionId,
      functionName: command.functionName,
    });
  }
  const outcomes = refs.length === 0 ? [] : await deps.functions.resolve(refs, signal);
  return commands.map((command) => {
    if (command instanceof Refusal) return command;
    const resolved = outcomes[places.get(keyOf(command)) ?? -1];
    if (resolved === undefined) throw new Error("the registry left out a function");
    if (resolved instanceof Refusal) return resolved;
    const known = deps.functions.of(resolved);
    return checkInput(command, known) ?? { command, resolved, known };
  });
}

function keyOf({ projectName, versionId, functionName }: StartCommand): string {
  return `${projectName}/${versionId}/${functionName}`;
}

function checkInput(command: StartCommand, known: KnownFunction): Refusal | undefined {
  if (known.inputCheck === undefined) return undefined;
  let args: unknown[];
  try {
    const { positional, named } = decodeArguments(command.arguments);
    args = named === undefined ? positional : [...positional, named];
  } catch (error) {
    return inputIsInvalid(command, [{ field: "arguments", description: `cannot be decoded: ${String(error)}` }]);
  }
  const violations = violationsOf(known.inputCheck, args, "arguments");
  return violations.length === 0 ? undefined : inputIsInvalid(command, violations);
}

function inputIsInvalid(command: StartCommand, violations: { field: string; description: string }[]): Refusal {
  const list = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
  return new Refusal("FunctionInputIsInvalid", `the input of "${command.functionName}" is not valid: ${list}`, {
    violations,
    metadata: { functionName: command.functionName },
  });
}

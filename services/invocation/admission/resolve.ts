/** Finds the functions that are to be started, and checks the inputs against their schemas. */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { ResolvedFunction } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { decodeArguments } from "../../../sdk/typescript/src/values/codec.js";
import { Refusal } from "../../platform/errors.js";
import type { Principal } from "../../platform/rpc/principal.js";
import type { InvocationDeps } from "../deps.js";
import type { KnownFunction } from "../functions.js";
import type { StartCommand } from "../requests.js";
import { keyOf } from "./function_resolver.js";
import { answerRepeated } from "./repeated_starts.js";
import { type CheckedValue, type Violation, violationsOfEach } from "./schema_check.js";

/** After this time others have their turn. */
const TURN_MS = 20;

export interface ResolvedStart {
  readonly command: StartCommand;
  readonly resolved: ResolvedFunction;
  readonly known: KnownFunction;
}

/** One that is to be stored, the id of the invocation that it has started before, or why it starts none. */
export type AdmittedStart = ResolvedStart | string | Refusal;

export function isToBeStored(start: AdmittedStart | undefined): start is ResolvedStart {
  return typeof start === "object" && !(start instanceof Refusal);
}

export async function resolveStarts(
  deps: InvocationDeps,
  commands: readonly (StartCommand | Refusal)[],
  principal: Principal,
  signal: AbortSignal,
): Promise<AdmittedStart[]> {
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
  const outcomes = refs.length === 0 ? [] : await deps.resolver.resolve(refs, signal);
  const starts = await checkInputs(
    commands.map((command) => {
      if (command instanceof Refusal) return command;
      const resolved = outcomes[places.get(keyOf(command)) ?? -1];
      if (resolved === undefined) throw new Error("the registry left out a function");
      if (resolved instanceof Refusal) return resolved;
      return { command, resolved, known: deps.functions.of(resolved) };
    }),
    signal,
  );
  if (!starts.some((start) => start instanceof Refusal)) return starts;
  return await Promise.all(
    starts.map(async (start, place) => {
      const command = commands[place];
      if (!(start instanceof Refusal) || command === undefined || command instanceof Refusal) return start;
      return (await answerRepeated(deps, command, start, principal, signal)) ?? start;
    }),
  );
}

/** Puts refusals in the place of starts whose input is not what their function takes. */
async function checkInputs(
  starts: readonly (ResolvedStart | Refusal)[],
  signal: AbortSignal,
): Promise<(ResolvedStart | Refusal)[]> {
  const checked = [...starts];
  const inputs: (CheckedValue & { readonly place: number; readonly command: StartCommand })[] = [];
  let turnSince = performance.now();
  for (const [place, start] of starts.entries()) {
    if (start instanceof Refusal) continue;
    const { command, known } = start;
    const check = known.inputCheck;
    if (check === undefined) continue;
    // Schemas that are compiled for the first time take a while.
    if (performance.now() - turnSince > TURN_MS) {
      await nextTurn();
      turnSince = performance.now();
    }
    try {
      const { positional, named } = decodeArguments(command.arguments);
      const value = named === undefined ? withoutOmitted(positional) : [...positional, named];
      const valueBytes = command.encodedArguments.byteLength;
      inputs.push({ check, value, valueBytes, name: "arguments", place, command });
    } catch (error) {
      const description = `cannot be decoded: ${String(error)}`;
      checked[place] = inputIsInvalid(command, [{ field: "arguments", description }]);
    }
  }
  for (const [index, violations] of (await violationsOfEach(inputs, signal)).entries()) {
    const input = inputs[index];
    if (input !== undefined && violations.length > 0) checked[input.place] = inputIsInvalid(input.command, violations);
  }
  return checked;
}

/** An optional parameter at the end may be left out, or be given as `undefined`, which no schema in JSON knows. */
function withoutOmitted(positional: readonly unknown[]): readonly unknown[] {
  return positional.slice(0, positional.findLastIndex((value) => value !== undefined) + 1);
}

function inputIsInvalid(command: StartCommand, violations: Violation[]): Refusal {
  const list = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
  return new Refusal("FunctionInputIsInvalid", `the input of "${command.functionName}" is not valid: ${list}`, {
    violations,
    metadata: { functionName: command.functionName },
  });
}

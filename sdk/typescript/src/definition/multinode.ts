/** The object that main exports, and that collects its functions. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import {
  type CallArguments,
  DefinedFunction,
  type FinalResultOf,
  type Handler,
  type HandlerArguments,
  type ResultOf,
} from "./function.js";
import type { FunctionOptions } from "./options.js";

const MULTINODE_BRAND = Symbol.for("multinode.Multinode");

/**
 * Collects the functions of a project. Main exports exactly one, and every function:
 *
 *     export const mn = new Multinode();
 *     export const resize = mn.function({ memory: "1 GiB", timeout: "5m" }, async (url: string) => { ... });
 */
export class Multinode {
  readonly [MULTINODE_BRAND] = true;
  readonly #functions: DefinedFunction[] = [];

  /** The functions made so far, in the order of their making. */
  get functions(): readonly DefinedFunction[] {
    return this.#functions;
  }

  /**
   * Defines a function that can run remotely. The handler is a function or a generator function, sync or async; with an
   * `input` schema its parameters are what the schema gives. Throws a ParameterValidationError that lists every bad option.
   */
  function<H extends Handler>(
    handler: H,
  ): DefinedFunction<Parameters<H>, FinalResultOf<ReturnType<H>>, ResultOf<ReturnType<H>>>;
  function<Input extends StandardSchemaV1, Returned>(
    options: FunctionOptions & { readonly input: Input },
    handler: (...args: HandlerArguments<Input>) => Returned,
  ): DefinedFunction<CallArguments<Input>, FinalResultOf<Returned>, ResultOf<Returned>>;
  function<H extends Handler>(
    options: FunctionOptions & { readonly input?: undefined },
    handler: H,
  ): DefinedFunction<Parameters<H>, FinalResultOf<ReturnType<H>>, ResultOf<ReturnType<H>>>;
  function(optionsOrHandler: FunctionOptions | Handler, handler?: Handler): unknown {
    const made =
      typeof optionsOrHandler === "function"
        ? new DefinedFunction({}, optionsOrHandler)
        : new DefinedFunction(optionsOrHandler, handler as Handler);
    this.#functions.push(made);
    return made;
  }
}

/** Whether `value` is a Multinode object, of this or another copy of the package. */
export function isMultinode(value: unknown): value is Multinode {
  return typeof value === "object" && value !== null && MULTINODE_BRAND in value;
}

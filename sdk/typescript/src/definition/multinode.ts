/** The object that main exports, and that collects its functions. */
import {
  type ArgumentsOf,
  DefinedFunction,
  type FinalResultOf,
  type Handler,
  type HandlerOf,
  type OptionalSchema,
  type OutputOf,
  type ResultOf,
  type ReturnedOf,
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
   * `input` schema its parameters are what the schema gives, and with an `output` schema it returns and yields what the
   * schema takes. Throws a ParameterValidationError that lists every bad option.
   */
  function<H extends Handler>(
    handler: H,
  ): DefinedFunction<Parameters<H>, FinalResultOf<ReturnType<H>>, ResultOf<ReturnType<H>>>;
  // One signature for all options: of a handler that fits none of several the compiler does not say what is wrong.
  function<
    H extends (...args: never[]) => ReturnedOf<Output>,
    Input extends OptionalSchema = undefined,
    Output extends OptionalSchema = undefined,
  >(
    // Not as an intersection: schemas of arktype take the compiler too long to compare.
    options: Omit<FunctionOptions, "input" | "output"> & { readonly input?: Input; readonly output?: Output },
    handler: HandlerOf<Input, Output, H>,
  ): DefinedFunction<
    ArgumentsOf<Input, H>,
    OutputOf<Output, FinalResultOf<ReturnType<H>>>,
    OutputOf<Output, ResultOf<ReturnType<H>>>
  >;
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

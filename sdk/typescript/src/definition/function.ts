/** A function that main defines, made by `Multinode.function`. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { clientOfExecution } from "../client/shared_clients.js";
import { DefinitionError } from "../errors.js";
import { FunctionHandle, type FunctionTarget } from "../function_handle.js";
import { callLocally } from "./call_local.js";
import { currentExecution } from "./context.js";
import { type FunctionOptions, parseFunctionOptions, type WireFunctionOptions } from "./options.js";
import { type ArgumentsSchema, argumentsSchema, type ResultSchema, resultSchema } from "./schema.js";

/** Any function or generator function, sync or async. */
export type Handler = (...args: never[]) => unknown;

/** What arrives of a value: a Buffer of Node is bytes like any others, and has none of its methods. */
type Arrived<Value> = Value extends Uint8Array & { readUInt32LE: unknown } ? Uint8Array : Value;

/** What is shown of what a handler gives: the value returned; of a generator, a value yielded or returned. */
export type ResultOf<Returned> = Arrived<
  Awaited<Returned> extends AsyncGenerator<infer Yielded, infer Last, never>
    ? Yielded | Exclude<Last, void | undefined>
    : Awaited<Returned> extends Generator<infer Yielded, infer Last, never>
      ? Yielded | Exclude<Last, void | undefined>
      : Awaited<Returned>
>;

/** What a handler ends with: of a generator, the value returned, or, where it may return none, also the last one yielded. */
export type FinalResultOf<Returned> = Arrived<
  Awaited<Returned> extends AsyncGenerator<infer Yielded, infer Last, never>
    ? LastOf<Yielded, Last>
    : Awaited<Returned> extends Generator<infer Yielded, infer Last, never>
      ? LastOf<Yielded, Last>
      : Awaited<Returned>
>;

type LastOf<Yielded, Last> = [Last] extends [never]
  ? Yielded
  : undefined extends Last
    ? Yielded | Exclude<Last, void | undefined>
    : Last;

type IsTuple<List extends readonly unknown[]> = number extends List["length"]
  ? List extends readonly [unknown, ...unknown[]]
    ? true
    : false
  : true;
type IsAny<Value> = 0 extends 1 & Value ? true : false;
/** Each tuple of a union is one way to call; any other value is one argument. */
type AsArguments<Value> =
  IsAny<Value> extends true
    ? [value?: Value]
    : AreTuples<Value> extends true
      ? ListAsArguments<Value>
      : undefined extends Value
        ? [value?: Value]
        : [value: Value];
type ListAsArguments<List> = List extends readonly unknown[] ? [...List] : never;
/** Whether each member of a union is a tuple. */
type AreTuples<Value> = [Value] extends [readonly unknown[]]
  ? false extends (Value extends readonly unknown[] ? IsTuple<Value> : false)
    ? false
    : true
  : false;

/** What a caller passes to a function with this input schema. */
export type CallArguments<Schema extends StandardSchemaV1> = AsArguments<StandardSchemaV1.InferInput<Schema>>;
/** What the handler of a function with this input schema is given. */
export type HandlerArguments<Schema extends StandardSchemaV1> =
  IsAny<StandardSchemaV1.InferInput<Schema>> extends true
    ? AsArguments<StandardSchemaV1.InferOutput<Schema>>
    : AreTuples<StandardSchemaV1.InferInput<Schema>> extends true
      ? AsArguments<StandardSchemaV1.InferOutput<Schema>>
      : // Whatever it makes of one argument is one.
        undefined extends StandardSchemaV1.InferOutput<Schema>
        ? [value?: StandardSchemaV1.InferOutput<Schema>]
        : [value: StandardSchemaV1.InferOutput<Schema>];

/** The schema of an option; undefined where there is none. */
export type OptionalSchema = StandardSchemaV1 | undefined;

/** The handler that the schemas ask for. Without an input schema it is `H`, the one that is given. */
export type HandlerOf<Input extends OptionalSchema, Output extends OptionalSchema, H> = [Input] extends [
  StandardSchemaV1,
]
  ? (...args: HandlerArguments<Input>) => ReturnedOf<Output>
  : [Input] extends [undefined]
    ? H
    : "the type of the options must say whether there is an input schema: write `satisfies FunctionOptions`";

/** What a caller passes to the function. */
export type ArgumentsOf<Input extends OptionalSchema, H extends Handler> = [Input] extends [StandardSchemaV1]
  ? CallArguments<Input>
  : Parameters<H>;

/** What a handler may return: with an output schema, what that takes. */
export type ReturnedOf<Output extends OptionalSchema> = Output extends StandardSchemaV1
  ? IsAnySchema<Output> extends true
    ? unknown
    : FitsOutput<StandardSchemaV1.InferInput<Output>>
  : unknown;

/** What is recorded of what a handler gives: with an output schema, what that makes of it. */
export type OutputOf<Output extends OptionalSchema, Given> = Output extends StandardSchemaV1
  ? IsAnySchema<Output> extends true
    ? Given
    : StandardSchemaV1.InferOutput<Output>
  : Given;

/** Whether nothing is known of a schema, not even that it is there, as in options declared as `FunctionOptions`. */
type IsAnySchema<Schema> = StandardSchemaV1 extends Schema ? true : false;

/** What fits an output schema that takes `Value`. The name is what the compiler says of a handler that does not. */
export type FitsOutput<Value> =
  | AsValue<Value>
  // Part of the next line; by it the compiler tells in few words what is wrong with an async function.
  | Promise<AsValue<Value>>
  | PromiseLike<AsValue<Value> | GeneratorOf<AsValue<Value>>>
  | GeneratorOf<AsValue<Value>>;

type GeneratorOf<Value> = Generator<Value, Value | void, never> | AsyncGenerator<Value, Value | void, never>;

/** No promise or generator, which are a Record<string, any> too. A schema that takes any value takes those as well. */
type AsValue<Value> = Value extends unknown
  ? string extends Value
    ? Value
    : Promise<never> extends Value
      ? Value & { then?: never; next?: never }
      : Value
  : never;

/** One function of a version, as it is on the wire. Schemas are JSON text; empty: anything. */
export interface DefinedFunctionSpec {
  readonly functionName: string;
  readonly options: WireFunctionOptions;
  readonly inputSchema: string;
  readonly outputSchema: string;
}

const FUNCTION_BRAND = Symbol.for("multinode.DefinedFunction");

/**
 * A function of this project. Inside another function of the project its methods start and follow invocations of it, in
 * the same version; `callLocal` runs its code here.
 */
export class DefinedFunction<
  Args extends unknown[] = unknown[],
  Result = unknown,
  Shown = Result,
> extends FunctionHandle<Args, Result, Shown> {
  readonly [FUNCTION_BRAND] = true;
  /** The code that was passed to `Multinode.function`. */
  readonly handler: Handler;
  readonly #input: ArgumentsSchema;
  readonly #output: ResultSchema;
  readonly #wireOptions: WireFunctionOptions;
  readonly #optionName: string | undefined;
  #name: string | undefined;

  /** Throws a ParameterValidationError that lists every bad option. */
  constructor(options: FunctionOptions, handler: Handler) {
    super(() => this.#target());
    if (typeof handler !== "function")
      throw new DefinitionError("mn.function(options, handler): the handler must be a function");
    this.handler = handler;
    this.#wireOptions = parseFunctionOptions(options);
    this.#input = argumentsSchema(options.input);
    this.#output = resultSchema(options.output);
    this.#optionName = options.name;
    this.#name = options.name;
  }

  /** The name, or undefined until main has been loaded and its exports are known. */
  get functionName(): string | undefined {
    return this.#name;
  }

  /** The name that the options give. */
  get optionName(): string | undefined {
    return this.#optionName;
  }

  /** Gives the function the name under which main exports it. Called by `discover`. */
  bindName(name: string): void {
    this.#name = name;
  }

  /** What `deploy` registers. */
  get spec(): DefinedFunctionSpec {
    return {
      functionName: this.#name ?? "",
      options: this.#wireOptions,
      inputSchema: this.#input.jsonSchema,
      outputSchema: this.#output.jsonSchema,
    };
  }

  /** The arguments as the handler gets them: checked, with defaults and transforms. Throws FunctionInputIsInvalid. */
  parseInput(args: readonly unknown[]): Promise<unknown[]> {
    return this.#input.parse(args);
  }

  /** A result or a yielded value as it is recorded. Throws FunctionOutputIsInvalid. */
  parseOutput(result: unknown): Promise<unknown> {
    return this.#output.parse(result);
  }

  /** Runs the code here, in this process, and answers its result; of a generator, the final one. */
  async callLocal(...args: Args): Promise<Result> {
    return (await callLocally(this, args)) as Result;
  }

  #target(): FunctionTarget {
    const execution = currentExecution();
    const name = this.#name;
    if (execution === undefined || execution.apiUrl === "") {
      throw new DefinitionError(
        `${name ?? "this function"} was called remotely outside of a running function; from an application use ` +
          "getDeployedFunction({ projectName, functionName }), or callLocal(...) to run it here",
      );
    }
    if (name === undefined) throw new DefinitionError("this function has no name; export it from main");
    return {
      client: clientOfExecution(execution),
      // Filled in by the server: the caller's own project and version.
      projectName: "",
      versionId: "",
      functionName: name,
      interruption: execution.context.signal,
    };
  }
}

/** Whether `value` is a function made by `Multinode.function`, by this or another copy of the package. */
export function isDefinedFunction(value: unknown): value is DefinedFunction {
  return typeof value === "object" && value !== null && FUNCTION_BRAND in value;
}

/** What this service knows of functions: resolved by the registry at a start, then kept with the invocations for life. */
import type { ResolvedFunction } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import { OPTION_LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { ReadTransaction } from "../platform/store/db.js";
import { compileCheck, type ValueCheck } from "./admission/schema_check.js";
import type { LifePolicy } from "./domain/life.js";
import { type RetryDelay, retryDelayMs } from "./domain/retry_delay.js";
import type { InvocationStore } from "./store.js";

/** Functions kept in memory. */
const CACHED_FUNCTIONS = 5_000;
/** Compiled schemas kept in memory. */
const CACHED_CHECKS = 2_000;

export interface KnownFunction {
  readonly spec: FunctionSpec;
  readonly encodedSpec: Uint8Array;
  readonly policy: LifePolicy;
  readonly maxConcurrency: number;
  readonly gracePeriodMs: number;
  /** Present where the function has a schema of this kind. */
  readonly inputCheck: ValueCheck | undefined;
  readonly outputCheck: ValueCheck | undefined;
}

export class Functions {
  readonly #store: InvocationStore;
  readonly #known = new Map<string, Map<string, KnownFunction>>();
  #size = 0;

  constructor(store: InvocationStore) {
    this.#store = store;
  }

  of(resolved: ResolvedFunction): KnownFunction {
    const spec = resolved.function;
    if (spec === undefined) throw new Error("the registry resolved a function without its spec");
    return this.cached(resolved.versionId, spec.functionName) ?? this.#keep(resolved.versionId, spec);
  }

  /** The function of a stored invocation. */
  async load(tx: ReadTransaction, versionId: string, functionName: string): Promise<KnownFunction> {
    const cached = this.cached(versionId, functionName);
    if (cached !== undefined) return cached;
    const spec = await this.#store.loadSpec(tx, versionId, functionName);
    if (spec === undefined) throw new Error(`the function ${functionName} of ${versionId} is not stored`);
    return this.#keep(versionId, FunctionSpec.decode(spec));
  }

  /** The same, where it is in memory. */
  cached(versionId: string, functionName: string): KnownFunction | undefined {
    return this.#known.get(versionId)?.get(functionName);
  }

  #keep(versionId: string, spec: FunctionSpec): KnownFunction {
    if (this.#size >= CACHED_FUNCTIONS) {
      this.#known.clear();
      this.#size = 0;
    }
    const known = knownFunction(spec);
    const ofVersion = this.#known.get(versionId) ?? new Map<string, KnownFunction>();
    this.#known.set(versionId, ofVersion.set(spec.functionName, known));
    this.#size += 1;
    return known;
  }
}

/** Of the schemas in use; new versions mostly have those of the ones before. */
const checks = new Map<string, ValueCheck>();

function checkOf(schema: string): ValueCheck | undefined {
  if (schema === "") return undefined;
  let check = checks.get(schema);
  if (check === undefined || check.retryAt <= performance.now()) {
    if (checks.size >= CACHED_CHECKS) checks.clear();
    check = compileCheck(schema);
    checks.set(schema, check);
  }
  return check;
}

function knownFunction(spec: FunctionSpec): KnownFunction {
  const options = spec.options;
  const delay = options?.retryDelay;
  const retryDelay: RetryDelay | undefined = delay && {
    initialMs: delay.initialMs,
    factor: delay.factor ?? OPTION_LIMITS.retryFactor.default,
    ceilingMs: delay.ceilingMs ?? OPTION_LIMITS.retryCeilingMs.default,
    jitter: delay.jitter ?? OPTION_LIMITS.retryJitter.default,
  };
  return {
    spec,
    encodedSpec: FunctionSpec.encode(spec).finish(),
    policy: {
      timeoutMs: options?.timeoutMs ?? OPTION_LIMITS.timeoutMs.default,
      maxRetries: options?.maxRetries ?? OPTION_LIMITS.maxRetries.default,
      retryDelayMs: (failures) => retryDelayMs(retryDelay, failures, Math.random()),
    },
    maxConcurrency: options?.maxConcurrency ?? OPTION_LIMITS.maxConcurrency.default,
    gracePeriodMs: options?.gracePeriodMs ?? OPTION_LIMITS.gracePeriodMs.default,
    // Compiled when they are asked for: that takes a while, and most that is done with a function needs neither.
    get inputCheck() {
      return checkOf(spec.inputSchema);
    },
    get outputCheck() {
      return checkOf(spec.outputSchema);
    },
  };
}

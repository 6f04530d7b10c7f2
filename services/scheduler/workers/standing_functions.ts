/** Functions that keep warm workers, as the registry says: looked up on a hint and now and then. */
import type { CatalogServiceClient } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { Bus } from "../../platform/bus/bus.js";
import type { Logger } from "../../platform/log.js";
import type { StandingFunction } from "../plan.js";
import { shapeOf } from "../run.js";
import type { BoundFunction } from "./worker_pool.js";

const LOOK_INTERVAL_MS = 30_000;

export class StandingFunctions {
  readonly #catalog: Pick<CatalogServiceClient, "listStandingFunctions">;
  readonly #bus: Bus;
  readonly #log: Logger;
  readonly #changed: () => void;
  #functions = new Map<string, { fn: BoundFunction; minWorkers: number }>();
  #timer: NodeJS.Timeout | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(
    catalog: Pick<CatalogServiceClient, "listStandingFunctions">,
    bus: Bus,
    log: Logger,
    changed: () => void,
  ) {
    this.#catalog = catalog;
    this.#bus = bus;
    this.#log = log;
    this.#changed = changed;
  }

  start(): void {
    const look = () => void this.#look();
    this.#unsubscribe = this.#bus.subscribe("project", look, look);
    this.#timer = setInterval(look, LOOK_INTERVAL_MS);
    look();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#unsubscribe?.();
  }

  shapes(): readonly StandingFunction[] {
    return [...this.#functions.values()].map(({ fn, minWorkers }) => ({ shape: fn.shape, minWorkers }));
  }

  byKey(key: string): BoundFunction | undefined {
    return this.#functions.get(key)?.fn;
  }

  async #look(): Promise<void> {
    try {
      const { functions } = await this.#catalog.listStandingFunctions({});
      const found = new Map<string, { fn: BoundFunction; minWorkers: number }>();
      for (const { projectName, versionId, function: spec } of functions) {
        if (spec === undefined) continue;
        const shape = shapeOf(versionId, spec);
        found.set(shape.key, {
          fn: { shape, projectName, versionId, spec },
          minWorkers: spec.options?.minWorkers ?? 0,
        });
      }
      this.#functions = found;
      this.#changed();
    } catch (err) {
      this.#log.warn({ err }, "the registry does not answer; warm workers stay as they are");
    }
  }
}

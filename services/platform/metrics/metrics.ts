/**
 * What a service counts, in the text form of Prometheus. There is one only where a listener for it is asked for: else nothing is
 * counted, and the library is not loaded.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Logger } from "../log.js";

/** From a call that is answered from memory to an execution of a day, in seconds. */
const SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200,
];

/** How long is waited for what is looked up. What takes longer is told next time. */
const LOOK_MS = 2_000;

/** How often the delay of the event loop is looked at. The library's own 10 ms keep an idle machine awake. */
const EVENT_LOOP_LOOK_MS = 100;

interface Look {
  readonly look: () => Promise<void> | void;
  underWay: Promise<void> | undefined;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #log: Logger;
  readonly #looks: Look[] = [];
  #answering: Promise<string> | undefined;

  constructor(log: Logger) {
    this.#log = log;
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: EVENT_LOOP_LOOK_MS });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  counter<Label extends string>(name: string, help: string, labelNames: readonly Label[] = []): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[] = []): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  /** Of times, in seconds. */
  histogram<Label extends string>(name: string, help: string, labelNames: readonly Label[] = []): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets: SECONDS, registers: [this.#registry] });
  }

  /**
   * `look` brings gauges up to date before each answer. When it fails, or takes longer than 2 s, the answer has what there was; that
   * it failed is logged.
   */
  beforeEach(look: () => Promise<void> | void): void {
    this.#looks.push({ look, underWay: undefined });
  }

  /** All of it. Who asks while an answer is made gets the same one: a slow database is asked once. */
  async text(): Promise<string> {
    this.#answering ??= this.#answer().finally(() => {
      this.#answering = undefined;
    });
    return await this.#answering;
  }

  async #answer(): Promise<string> {
    const over = new AbortController();
    const bound = delay(LOOK_MS, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([Promise.all(this.#looks.map((look) => this.#look(look))), bound]);
    over.abort();
    return await this.#registry.metrics();
  }

  /** One at a time, however long it takes. */
  async #look(each: Look): Promise<void> {
    each.underWay ??= Promise.resolve()
      .then(each.look)
      .catch((err: unknown) => this.#log.warn({ err }, "a metric could not be brought up to date"))
      .finally(() => {
        each.underWay = undefined;
      });
    await each.underWay;
  }
}

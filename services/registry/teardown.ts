/**
 * Finishes deletions: cancels what a project has in flight until all of it is terminated, purges it, and removes the
 * project. What is to be done is read from the store in each pass and every step is repeatable, so it goes on after a
 * crash, and several processes may do it at once. Passes run on a timer, and sooner on a hint.
 */
import type { TeardownServiceClient } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import { Bell } from "../platform/bell.js";
import type { Bus } from "../platform/bus/bus.js";
import type { Clock } from "../platform/clock.js";
import type { Logger } from "../platform/log.js";
import type { BundleStore } from "./bundles.js";
import type { ProjectRecord, RegistryStore } from "./store.js";

const PASS_INTERVAL_MS = 1_000;
/** Hints of this long share one pass. */
const HINT_DELAY_MS = 50;
const SWEEP_INTERVAL_MS = 10 * 60_000;
const PROJECTS_PER_PASS = 1_000;
/** Calls for one project in one pass, so that a large one does not hold up the others. */
const PURGES_PER_PASS = 100;

export interface TeardownParts {
  readonly store: RegistryStore;
  readonly bundles: BundleStore;
  readonly client: Pick<TeardownServiceClient, "cancelProject" | "purgeProject">;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Teardown {
  readonly #parts: TeardownParts;
  readonly #stopping = new AbortController();
  /** Projects whose last step failed, so that each trouble is told once. */
  readonly #failing = new Set<string>();
  #unsubscribe = () => {};
  #running: Promise<void> = Promise.resolve();
  #hintTimer: NodeJS.Timeout | undefined;
  #isHinted = false;
  readonly #bell = new Bell();
  /** Projects that the last pass left unfinished. */
  #unfinished = 0;
  #sweptAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: TeardownParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#unsubscribe = this.#parts.bus.subscribe("invocation", () => {
      if (this.#unfinished > 0) this.wake();
    });
    this.#running = this.#run(this.#stopping.signal);
  }

  /** Hints that a pass may find something to do. */
  wake(): void {
    this.#hintTimer ??= setTimeout(() => {
      this.#hintTimer = undefined;
      this.#isHinted = true;
      this.#bell.ring();
    }, HINT_DELAY_MS).unref();
  }

  /** Ends when nothing runs any more. Calls under way are aborted. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#stopping.abort();
    clearTimeout(this.#hintTimer);
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#pass(signal);
      } catch (error) {
        if (!signal.aborted) this.#parts.log.error({ err: error }, "teardown pass failed");
      }
      if (!this.#isHinted) await this.#bell.wait(PASS_INTERVAL_MS, signal);
      this.#isHinted = false;
    }
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#parts;
    const projects = await store.listDeleting(PROJECTS_PER_PASS);
    let removed = 0;
    for (const project of projects) {
      try {
        if (await this.#advance(project, signal)) removed += 1;
        this.#failing.delete(project.projectId);
      } catch (error) {
        if (signal.aborted) return;
        const { projectId, projectName } = project;
        if (!this.#failing.has(projectId))
          log.warn({ projectId, projectName, err: error }, "project teardown is held up");
        this.#failing.add(projectId);
      }
    }
    this.#unfinished = projects.length - removed;
    if (removed > 0 || Math.abs(clock.now() - this.#sweptAtMs) >= SWEEP_INTERVAL_MS) await this.#sweep();
  }

  /** Answers whether the project is gone. */
  async #advance({ projectId, projectName }: ProjectRecord, signal: AbortSignal): Promise<boolean> {
    const { store, client, bus, log } = this.#parts;
    const { terminated } = await client.cancelProject({ projectId }, { signal });
    if (!terminated) return false;
    let isPurged = false;
    for (let call = 0; call < PURGES_PER_PASS && !isPurged; call++) {
      isPurged = (await client.purgeProject({ projectId }, { signal })).done;
    }
    if (!isPurged) {
      this.wake();
      return false;
    }
    await store.removeProject(projectId);
    bus.publish({ $case: "project", value: { projectName } });
    log.info({ projectId, projectName }, "project removed");
    return true;
  }

  async #sweep(): Promise<void> {
    const { bundles, store, clock } = this.#parts;
    await bundles.removeUnused((digests) => store.usedBundles(digests));
    this.#sweptAtMs = clock.now();
  }
}

/** The worker containers of an installation: one function for each thing that is asked of the engine. */
import type { Duplex, Readable } from "node:stream";
import type { Container, ContainerInfo, ContainerInspectInfo } from "dockerode";
import { type DockerEngine, isConflict, orNothing, statusOf } from "./docker_engine.js";
import {
  bootText,
  type ContainerSettings,
  LABELS,
  limitsOf,
  nameOf,
  workerContainer,
  workerNetwork,
} from "./docker_profile.js";
import type { WorkerResources, WorkerSpec } from "./runtime.js";

/** The engine's answer to a start of what runs already. */
const NOT_MODIFIED = 304;

export interface CreatedContainer {
  readonly id: string;
  /** What it prints. */
  readonly output: Duplex;
}

export class DockerContainers {
  readonly #engine: DockerEngine;
  readonly #settings: ContainerSettings;
  #cpus: number | undefined;

  constructor(engine: DockerEngine, settings: ContainerSettings) {
    this.#engine = engine;
    this.#settings = settings;
  }

  /**
   * Creates the container of a worker, and hands over its boot. One that exists under the name, because an answer was lost,
   * is gone on with.
   */
  async create(spec: WorkerSpec, networkMode: string, stop: AbortSignal): Promise<CreatedContainer> {
    const container = await this.#create(spec, networkMode, stop);
    const streams = { stream: true, stdin: true, stdout: true, stderr: true, hijack: true };
    const attached = await this.#engine.call((_, abortSignal) => container.attach({ ...streams, abortSignal }), stop);
    const output = attached as Duplex;
    output.on("error", () => {}); // told to its reader
    // The engine keeps it until the worker reads it, and then ends the worker's standard input.
    output.end(bootText(spec.boot, spec.firstWork));
    return { id: container.id, output };
  }

  /** Starts what was created. */
  async start({ id, output }: CreatedContainer, stop: AbortSignal): Promise<void> {
    const container = this.#engine.container(id);
    try {
      await this.#engine.call((_, abortSignal) => container.start({ abortSignal }), stop);
    } catch (error) {
      if (statusOf(error) === NOT_MODIFIED) return;
      output.destroy();
      throw error;
    }
  }

  /** Undefined: there is none. */
  inspect(workerId: string, stop: AbortSignal): Promise<ContainerInspectInfo | undefined> {
    return this.#engine.call(
      orNothing((_, abortSignal) => this.#container(workerId).inspect({ abortSignal })),
      stop,
    );
  }

  /** Removes a container, by its id, if it does not run; answers whether it runs. */
  async removeUnlessRunning(id: string, stop: AbortSignal): Promise<boolean> {
    try {
      await this.#engine.insist(
        orNothing(async (_, abortSignal) => {
          await this.#engine.container(id).remove({ v: true, abortSignal });
        }),
        stop,
      );
      return false;
    } catch (error) {
      if (isConflict(error)) return true;
      throw error;
    }
  }

  /**
   * Kills and removes a container. When this resolves it is gone. Asked for by its id: an engine that hung may carry out later
   * what was given up on, when there is another one under the name.
   */
  async remove(id: string, stop?: AbortSignal): Promise<void> {
    const options = { force: true, v: true };
    await this.#engine.call(
      orNothing(async (_, abortSignal) => {
        await this.#engine.container(id).remove({ ...options, abortSignal });
      }),
      stop,
    );
  }

  /** Insists during outages. Where there is no container this does nothing. */
  async limit(workerId: string, resources: WorkerResources, stop: AbortSignal): Promise<void> {
    const limits = limitsOf(await this.#possible(resources, stop));
    await this.#engine.insist(
      orNothing(async (_, abortSignal) => {
        await this.#container(workerId).update({ ...limits, abortSignal });
      }),
      stop,
    );
  }

  /** What a worker prints from now on, and what it printed since then; follows it to its end. */
  async output(workerId: string, sinceMs: number, stop: AbortSignal): Promise<Readable> {
    const streams = { follow: true as const, stdout: true, stderr: true, since: sinceMs / 1000 };
    return (await this.#engine.call(
      (_, abortSignal) => this.#container(workerId).logs({ ...streams, abortSignal }),
      stop,
    )) as Readable;
  }

  /** All containers of the installation, of whatever role, state and scheduler. */
  list(stop?: AbortSignal): Promise<ContainerInfo[]> {
    const filters = { label: [`${LABELS.installation}=${this.#settings.installationId}`] };
    return this.#engine.call((docker, abortSignal) => docker.listContainers({ all: true, filters, abortSignal }), stop);
  }

  /** Makes the network of the workers where there is none of that name. */
  async ensureNetwork(stop: AbortSignal): Promise<void> {
    const { network, installationId } = this.#settings;
    const found = await this.#engine.call(
      orNothing((docker) => docker.getNetwork(network).inspect()),
      stop,
    );
    if (found !== undefined) return;
    try {
      const options = workerNetwork(network, installationId);
      await this.#engine.call((docker, abortSignal) => docker.createNetwork({ ...options, abortSignal }), stop);
    } catch (error) {
      if (!isConflict(error)) throw error; // another scheduler was first
    }
  }

  /** The engine refuses more CPUs than it has: who asks for more gets all. */
  async #possible(resources: WorkerResources, stop: AbortSignal): Promise<WorkerResources> {
    this.#cpus ??= await this.#engine.insist(async (docker) => {
      const { NCPU }: { NCPU: number } = await docker.info();
      return NCPU;
    }, stop);
    return { ...resources, cpu: Math.min(resources.cpu, this.#cpus) };
  }

  async #create(spec: WorkerSpec, networkMode: string, stop: AbortSignal): Promise<Container> {
    const { workerId, image = this.#settings.image } = spec;
    const name = nameOf(this.#settings.installationId, workerId);
    const resources = spec.resources && (await this.#possible(spec.resources, stop));
    const options = { name, ...workerContainer({ ...this.#settings, image }, workerId, networkMode, resources) };
    try {
      return await this.#engine.call(
        (docker, abortSignal) => docker.createContainer({ ...options, abortSignal }),
        stop,
      );
    } catch (error) {
      if (!isConflict(error)) throw error;
      return this.#container(workerId);
    }
  }

  #container(workerId: string): Container {
    return this.#engine.container(nameOf(this.#settings.installationId, workerId));
  }
}

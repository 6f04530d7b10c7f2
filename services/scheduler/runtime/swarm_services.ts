/** Workers as services of a Swarm, by calls to the engine of a manager. All calls may be repeated. */
import type { Readable } from "node:stream";
import { type DockerEngine, type EngineRequest, isConflict, orNothing, statusOf } from "./docker_engine.js";
import { bootText, LABELS, nameOf } from "./docker_profile.js";
import type { FoundWorker, WorkerBoot, WorkerResources } from "./runtime.js";
import { type SwarmSettings, workerOverlay, workerSecret, workerService } from "./swarm_profile.js";
import { fewestCpus, type SwarmNode, type SwarmTask } from "./swarm_state.js";

/** The engine's answer where a network of the Swarm has that name; its status is that of a fault. */
const NAME_IS_TAKEN = /name conflicts with an existing object/;
/** The engine's answer to an update of what was updated meanwhile; its status is that of a fault. */
const OUT_OF_SEQUENCE = /update out of sequence/;

/** The tasks of all workers of the installation, and the nodes, as they were at one moment. */
export interface SwarmView {
  readonly tasks: ReadonlyMap<string, readonly SwarmTask[]>;
  readonly nodes: ReadonlyMap<string, SwarmNode>;
}

interface Labelled {
  readonly Spec?: { readonly Labels?: Readonly<Record<string, string>> };
}

interface FoundService {
  readonly Version: { readonly Index: number };
  readonly Spec: Record<string, unknown> & {
    readonly Mode?: { readonly ReplicatedJob?: { readonly TotalCompletions?: number } };
  };
}

export class SwarmServices {
  readonly #engine: DockerEngine;
  readonly #settings: SwarmSettings;

  constructor(engine: DockerEngine, settings: SwarmSettings) {
    this.#engine = engine;
    this.#settings = settings;
  }

  /** Makes the secret and the service of a worker, or goes on with those that there are, because an answer was lost. */
  async create(workerId: string, boot: WorkerBoot, resources: WorkerResources, stop: AbortSignal): Promise<void> {
    const secret = workerSecret(this.#settings, workerId, bootText(boot));
    const secretId = await this.#engine.insist(async (docker, abortSignal) => {
      // Said apart from the query, which the library would fill with all of it, and engines write to their logs.
      const made = await orConflict(() => docker.createSecret({ _query: {}, _body: secret, abortSignal }));
      return made?.id ?? (await docker.getSecret(this.#name(workerId)).inspect({ abortSignal })).ID;
    }, stop);
    // Who asks for more processors than a node has gets all.
    const { nodes } = await this.#engine.insist(() => this.look(stop), stop);
    const cpu = Math.min(resources.cpu, fewestCpus(nodes.values()));
    const service = workerService(this.#settings, workerId, { ...resources, cpu }, secretId);
    await this.#engine.insist(async (docker, abortSignal) => {
      await orConflict(() => docker.createService({ ...service, abortSignal }));
    }, stop);
  }

  /**
   * Asks Swarm to kill what there is of a worker: its job is to be done no more. Removing the job alone would leave its tasks
   * running with engine 20.10.
   */
  async end(workerId: string, stop: AbortSignal): Promise<void> {
    await this.#engine.insist(async (docker, abortSignal) => {
      const service = docker.getService(this.#name(workerId));
      const found = (await orNothing(() => service.inspect({ abortSignal }))(docker, abortSignal)) as
        | FoundService
        | undefined;
      if (found === undefined || !isWanted(found)) return;
      const Mode = { ReplicatedJob: { MaxConcurrent: 0, TotalCompletions: 0 } };
      try {
        const _query = { version: found.Version.Index };
        await service.update({ _query, _body: { ...found.Spec, Mode }, abortSignal });
      } catch (error) {
        if (statusOf(error) === 404) return;
        // As an outage: asked again, from the beginning.
        throw OUT_OF_SEQUENCE.test(String(error)) ? new Error("it was updated meanwhile", { cause: error }) : error;
      }
    }, stop);
  }

  /** Removes the service and the secret of a worker, as far as there are any. */
  async remove(workerId: string, stop: AbortSignal): Promise<void> {
    const name = this.#name(workerId);
    const requests: EngineRequest<unknown>[] = [
      (docker, abortSignal) => docker.getService(name).remove({ abortSignal }),
      (docker, abortSignal) => docker.getSecret(name).remove({ abortSignal }),
    ];
    for (const request of requests) await this.#engine.insist(orNothing(request), stop);
  }

  /** What a worker prints, and what it printed since then; follows it until the service is removed. */
  async output(workerId: string, sinceMs: number, stop: AbortSignal): Promise<Readable> {
    const streams = { follow: true as const, stdout: true, stderr: true, since: sinceMs / 1000 };
    const service = this.#name(workerId);
    return (await this.#engine.call(
      (docker, abortSignal) => docker.getService(service).logs({ ...streams, abortSignal }),
      stop,
    )) as Readable;
  }

  async look(stop: AbortSignal): Promise<SwarmView> {
    const filters = this.#filters();
    const [tasks, nodes] = await Promise.all([
      this.#engine.call((docker, abortSignal) => docker.listTasks({ filters, abortSignal }), stop),
      this.#engine.call((docker, abortSignal) => docker.listNodes({ abortSignal } as object), stop),
    ]);
    return {
      tasks: Map.groupBy(tasks as SwarmTask[], ({ Spec }) => Spec.ContainerSpec?.Labels?.[LABELS.worker] ?? ""),
      nodes: new Map((nodes as SwarmNode[]).map((node) => [node.ID, node])),
    };
  }

  /** All workers of the installation of which anything is there: a service or a secret. */
  async list(stop?: AbortSignal): Promise<FoundWorker[]> {
    const filters = this.#filters();
    const [services, secrets] = await Promise.all([
      this.#engine.call((docker, abortSignal) => docker.listServices({ filters, abortSignal }), stop),
      this.#engine.call((docker, abortSignal) => docker.listSecrets({ filters, abortSignal }), stop),
    ]);
    const found = new Map<string, FoundWorker>();
    for (const { Spec } of [...(services as Labelled[]), ...(secrets as Labelled[])]) {
      const { [LABELS.worker]: workerId, [LABELS.scheduler]: schedulerId } = Spec?.Labels ?? {};
      if (workerId !== undefined && schedulerId !== undefined) found.set(workerId, { workerId, schedulerId });
    }
    return [...found.values()];
  }

  /** Makes the network of the workers where there is none of that name. */
  async ensureNetwork(stop: AbortSignal): Promise<void> {
    const { network, installationId } = this.#settings;
    await this.#engine.insist(async (docker, abortSignal) => {
      const found = await orNothing(() => docker.getNetwork(network).inspect())(docker, abortSignal);
      if (found !== undefined) return;
      await orConflict(() => docker.createNetwork({ ...workerOverlay(network, installationId), abortSignal }));
    }, stop);
  }

  #name(workerId: string): string {
    return nameOf(this.#settings.installationId, workerId);
  }

  #filters(): { label: string[] } {
    return { label: [`${LABELS.installation}=${this.#settings.installationId}`] };
  }
}

function isWanted({ Spec }: FoundService): boolean {
  return (Spec.Mode?.ReplicatedJob?.TotalCompletions ?? 0) > 0;
}

/** What `request` answers, or undefined where the engine has one of that name already. */
async function orConflict<T>(request: () => Promise<T>): Promise<T | undefined> {
  try {
    return await request();
  } catch (error) {
    if (!isConflict(error) && !NAME_IS_TAKEN.test(String(error))) throw error;
    return undefined;
  }
}

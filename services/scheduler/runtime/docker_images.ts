/**
 * Images that are built of projects' folders, each in two steps: the project's own Dockerfile, and on top of that the worker
 * program from the standard worker image.
 *
 * M1. The name holds the digest of the context and the id of the worker image: the same name, the same image, and after an
 *     upgrade of the worker image another one.
 * M2. The name is given last, so an image that is found is whole.
 * M3. What the project's Dockerfile says of user, command, health checks and volumes has no meaning for workers, whose profile
 *     is docker_profile.ts alone. A volume would be a place on the machine's disk without a limit, so it is refused.
 * M4. Steps of the Dockerfile run as root of a build container, bounded in memory, CPU and time. They are not hardened
 *     as workers are.
 */
import type { Readable } from "node:stream";
import { ArchiveIsInvalidError } from "../../../sdk/typescript/src/bundle/check_archive.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { buildContext, textContext } from "./docker_context.js";
import { type DockerEngine, isConflict, isOutage, orNothing, statusOf } from "./docker_engine.js";
import { ImageUses } from "./docker_image_uses.js";
import { readProgress } from "./docker_progress.js";
import { ImageBuildError, type RuntimeImages } from "./runtime.js";

export interface DockerImagesSettings {
  readonly installationId: string;
  /** The standard worker image. */
  readonly image: string;
  /** What the steps of a Dockerfile reach: a network of the engine, or "none". */
  readonly buildNetwork: string;
  /** How long an image that is not used is kept after it was last asked for, in milliseconds. Default `imageGraceMs`. */
  readonly imageGraceMs?: number;
}

/** Name by which a Dockerfile may ask for the standard worker image as its base. */
const WORKER_IMAGE_ARGUMENT = "MULTINODE_WORKER_IMAGE";
const NAME = /:([0-9a-f]{64})-[0-9a-f]{12}$/;
const CPU_PERIOD_US = 100_000;
/** Oldest Node that runs workers: `engines` of the package. */
const OLDEST_NODE = [22, 13] as const;

export class DockerImages implements RuntimeImages {
  readonly #engine: DockerEngine;
  readonly #settings: DockerImagesSettings;
  readonly #repository: string;
  readonly #uses = new ImageUses();

  constructor(engine: DockerEngine, settings: DockerImagesSettings) {
    this.#engine = engine;
    this.#settings = settings;
    this.#repository = `multinode-project-${settings.installationId}`;
  }

  async find(contextDigest: string, stop: AbortSignal): Promise<string | undefined> {
    const tag = tagOf(contextDigest, await this.#workerImage(stop));
    const name = `${this.#repository}:${tag}`;
    return await this.#uses.use(async () => {
      const found = await this.#engine.call(
        orNothing((docker) => docker.getImage(name).inspect()),
        stop,
      );
      // The time of this counts for `removeUnused`. Another scheduler may have removed it just now.
      const isNamed = found !== undefined && (await this.#name(found.Id, tag, stop));
      return isNamed ? name : undefined;
    });
  }

  async build(
    contextDigest: string,
    context: Uint8Array,
    print: (text: string) => void,
    stop: AbortSignal,
  ): Promise<string> {
    try {
      return await this.#uses.use(async () => {
        const worker = await this.#workerImage(stop);
        const project = await this.#buildProject(context, print, stop);
        const id = await this.#addWorker(project, worker, stop);
        await this.#refuseVolumes(id, stop);
        const tag = tagOf(contextDigest, worker);
        if (!(await this.#name(id, tag, stop))) throw new ImageBuildError("its layers were removed meanwhile"); // M2
        return `${this.#repository}:${tag}`;
      });
    } catch (error) {
      if (error instanceof ArchiveIsInvalidError) throw new ImageBuildError(error.message, { cause: error });
      // What the engine refuses at once, such as a Dockerfile that it cannot read.
      if (statusOf(error) !== undefined && !isOutage(error)) throw new ImageBuildError(textOf(error), { cause: error });
      throw error;
    }
  }

  async removeUnused(
    findUsed: (contextDigests: readonly string[]) => Promise<ReadonlySet<string>>,
    stop: AbortSignal,
  ): Promise<void> {
    const filters = { reference: [this.#repository] };
    const images = await this.#engine.call(
      (docker, abortSignal) => docker.listImages({ filters: JSON.stringify(filters), abortSignal }),
      stop,
    );
    const names = images.flatMap(({ RepoTags }) => RepoTags ?? []).filter((name) => NAME.test(name));
    const used = await findUsed([...new Set(names.map(contextOf))]);
    for (const name of names) {
      if (used.has(contextOf(name))) continue;
      await this.#uses.remove(async () => {
        if (await this.#isOld(name, stop)) await this.#remove(name, stop);
      });
    }
  }

  /** Id of the standard worker image. */
  async #workerImage(stop: AbortSignal): Promise<string> {
    const { image } = this.#settings;
    const found = await this.#engine.call(
      orNothing((docker) => docker.getImage(image).inspect()),
      stop,
    );
    if (found === undefined) throw new ImageBuildError(`the standard worker image ${image} is not there`);
    return found.Id;
  }

  async #buildProject(context: Uint8Array, print: (text: string) => void, stop: AbortSignal): Promise<string> {
    const { tar, dockerfile } = await buildContext(context);
    const asksForWorkerImage = dockerfile.includes(WORKER_IMAGE_ARGUMENT);
    const buildargs = asksForWorkerImage ? { [WORKER_IMAGE_ARGUMENT]: this.#settings.image } : {};
    return await this.#run(tar, { buildargs, networkmode: this.#settings.buildNetwork }, print, stop);
  }

  /** M3. The last step is a proof that the worker program can run there. */
  async #addWorker(project: string, worker: string, stop: AbortSignal): Promise<string> {
    const [major, minor] = OLDEST_NODE;
    const proof = `const [a,b]=process.versions.node.split(".").map(Number);process.exitCode=a>${major}||a===${major}&&b>=${minor}?0:1`;
    const dockerfile = [
      `FROM ${worker} AS worker`,
      `FROM ${project}`,
      "COPY --from=worker /opt/multinode /opt/multinode",
      "ENV NODE_COMPILE_CACHE=/opt/multinode/compiled MULTINODE_KEEP_ENVIRONMENT=true",
      "HEALTHCHECK NONE",
      "USER 65534:65534",
      `RUN ${JSON.stringify(["node", "-e", proof])}`,
    ];
    try {
      return await this.#run(textContext(dockerfile.join("\n")), { networkmode: "none" }, () => {}, stop);
    } catch (error) {
      if (!(error instanceof ImageBuildError)) throw error;
      const needs = `it needs Node ${OLDEST_NODE.join(".")} or newer as "node" on its PATH, for any user`;
      const ways = `begin with FROM node:24-slim, or with ARG ${WORKER_IMAGE_ARGUMENT} and FROM \${${WORKER_IMAGE_ARGUMENT}}`;
      throw new ImageBuildError(`workers cannot run in it: ${needs} (${ways}); ${error.message}`, { cause: error });
    }
  }

  async #refuseVolumes(id: string, stop: AbortSignal): Promise<void> {
    const { Config } = await this.#engine.call((docker) => docker.getImage(id).inspect(), stop);
    const volumes = Object.keys(Config.Volumes ?? {});
    if (volumes.length === 0) return;
    throw new ImageBuildError(`it has VOLUME ${volumes.join(", ")}, and workers have no volumes: they write to /tmp`);
  }

  /** Answers the id of the image. */
  async #run(
    tar: Readable,
    options: { readonly buildargs?: Record<string, string>; readonly networkmode: string },
    print: (text: string) => void,
    stop: AbortSignal,
  ): Promise<string> {
    const bounds = {
      memory: LIMITS.imageBuildMemoryBytes,
      memswap: LIMITS.imageBuildMemoryBytes,
      cpuperiod: CPU_PERIOD_US,
      cpuquota: LIMITS.imageBuildCpus * CPU_PERIOD_US,
    };
    try {
      const stream = await this.#engine.call(
        (docker, abortSignal) =>
          docker.buildImage(tar, { ...bounds, ...options, version: "1", rm: true, forcerm: true, abortSignal }),
        stop,
      );
      return await readProgress(stream as Readable, print, stop);
    } finally {
      tar.destroy();
    }
  }

  /** False: there is no such image. */
  async #name(id: string, tag: string, stop: AbortSignal): Promise<boolean> {
    const options = { repo: this.#repository, tag };
    const answer = await this.#engine.call(
      orNothing(async (docker, abortSignal) => {
        await docker.getImage(id).tag({ ...options, abortSignal });
        return true;
      }),
      stop,
    );
    return answer ?? false;
  }

  async #isOld(name: string, stop: AbortSignal): Promise<boolean> {
    const found = await this.#engine.call(
      orNothing((docker) => docker.getImage(name).inspect()),
      stop,
    );
    const namedAt: unknown = Reflect.get(found ?? {}, "Metadata")?.LastTagTime;
    return (
      typeof namedAt === "string" &&
      Date.now() - Date.parse(namedAt) > (this.#settings.imageGraceMs ?? LIMITS.imageGraceMs)
    );
  }

  async #remove(name: string, stop: AbortSignal): Promise<void> {
    try {
      await this.#engine.call(
        orNothing(async (docker, abortSignal) => {
          await docker.getImage(name).remove({ abortSignal });
        }),
        stop,
      );
    } catch (error) {
      if (!isConflict(error)) throw error; // a container is in it: next time
    }
  }
}

/** M1 */
function tagOf(contextDigest: string, workerImageId: string): string {
  return `${contextDigest}-${workerImageId.replace("sha256:", "").slice(0, 12)}`;
}

function contextOf(name: string): string {
  return NAME.exec(name)?.[1] ?? "";
}

/** What the engine itself says, without what its client puts before it. */
function textOf(error: unknown): string {
  const message: unknown = Reflect.get(Object(Reflect.get(Object(error), "json")), "message");
  return typeof message === "string" ? message : String(error);
}

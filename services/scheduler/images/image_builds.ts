/**
 * Builds of images, for those who deploy and for workers that are to be started: one for each context, which all who want it
 * share and hear from its beginning.
 *
 * B1. A build goes on while somebody waits for it, and has a bound in time and in what is told of it.
 * B2. Few run at once; the others wait.
 */
import { createHash } from "node:crypto";
import type { CatalogServiceClient } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Refusal } from "../../platform/errors.js";
import type { Logger } from "../../platform/log.js";
import { ImageBuildError, type RuntimeImages } from "../runtime/runtime.js";

export interface ImageBuildsSettings {
  /** Undefined: there are no images here but the standard one. */
  readonly images: RuntimeImages | undefined;
  readonly catalog: Pick<CatalogServiceClient, "downloadBundle">;
  readonly log: Logger;
  /** Bound of one build, in milliseconds. Default `imageBuildMs`. */
  readonly buildMs?: number;
}

const RETRY_AFTER_MS = 30_000;
/** What is shown of a build that nobody has watched. */
const TAIL_CHARACTERS = 2_000;

interface Build {
  readonly output: string[];
  characters: number;
  followers: number;
  readonly ending: AbortController;
  /** Settles with the name of the image. */
  readonly done: Promise<string>;
  isDone: boolean;
  /** Settles with the next change, and is another one then. */
  change: PromiseWithResolvers<void>;
}

export class ImageBuilds {
  readonly #settings: ImageBuildsSettings;
  readonly #builds = new Map<string, Build>();
  #running = 0;
  #freed = Promise.withResolvers<void>();

  constructor(settings: ImageBuildsSettings) {
    this.#settings = settings;
  }

  /**
   * Sees to it that there is an image, and answers its name. Tells meanwhile what its build prints, if one is needed, and
   * now and then an empty text.
   *
   * @throws Refusal ImagesAreNotSupported, BundleDoesNotExist, BundleIsInvalid, ImageBuildFailed, ResourceExhausted,
   *   Unavailable
   */
  async *follow(contextDigest: string, signal: AbortSignal): AsyncGenerator<string, string> {
    const build = this.#join(contextDigest);
    const gone = abortion(signal);
    try {
      for (let next = 0; ; ) {
        signal.throwIfAborted();
        const isDone = build.isDone;
        for (; next < build.output.length; next += 1) yield build.output[next] ?? "";
        if (isDone) return await build.done;
        if (!(await changes(build, gone.promise))) yield "";
      }
    } finally {
      gone.forget();
      build.followers -= 1;
      if (build.followers === 0) build.ending.abort(); // B1
    }
  }

  /** As `follow`, for those who do not listen: the end of the output is in the error instead. */
  async ensure(contextDigest: string, signal: AbortSignal): Promise<string> {
    let tail = "";
    try {
      const following = this.follow(contextDigest, signal);
      for (let next = await following.next(); ; next = await following.next()) {
        if (next.done === true) return next.value;
        tail = (tail + next.value).slice(-TAIL_CHARACTERS);
      }
    } catch (error) {
      if (!(error instanceof Refusal) || error.reason !== "ImageBuildFailed" || tail.trim() === "") throw error;
      throw new Refusal(error.reason, `${error.message}\n${tail.trim()}`, error.details);
    }
  }

  /** Ends all builds. */
  stop(): void {
    for (const { ending } of this.#builds.values()) ending.abort();
  }

  #join(contextDigest: string): Build {
    const { images } = this.#settings;
    if (images === undefined) throw imagesAreNotSupported();
    const known = this.#builds.get(contextDigest);
    // One that nobody waited for any more is ending.
    const build = known?.ending.signal.aborted === false ? known : this.#begin(contextDigest, images);
    build.followers += 1;
    return build;
  }

  #begin(contextDigest: string, images: RuntimeImages): Build {
    if (this.#builds.size >= LIMITS.imageBuildsWaiting) {
      throw new Refusal("ResourceExhausted", `${this.#builds.size} images are being built: try again later`, {
        metadata: { limit: "imageBuildsWaiting" },
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    const { promise: done, resolve, reject } = Promise.withResolvers<string>();
    done.catch(() => {}); // told to whoever still waits
    const build: Build = {
      output: [],
      characters: 0,
      followers: 0,
      ending: new AbortController(),
      done,
      isDone: false,
      change: Promise.withResolvers(),
    };
    this.#builds.set(contextDigest, build);
    void this.#carryOut(contextDigest, build, images)
      .then(resolve, (error: unknown) => reject(this.#refusalOf(error, contextDigest)))
      .finally(() => {
        build.isDone = true;
        if (this.#builds.get(contextDigest) === build) this.#builds.delete(contextDigest);
        build.change.resolve();
      });
    return build;
  }

  async #carryOut(contextDigest: string, build: Build, images: RuntimeImages): Promise<string> {
    const found = await images.find(contextDigest, build.ending.signal);
    if (found !== undefined) return found;
    const free = await this.#place(build);
    const bound = new AbortController();
    const { buildMs = LIMITS.imageBuildMs } = this.#settings;
    const timer = setTimeout(() => bound.abort(), buildMs);
    const stop = AbortSignal.any([build.ending.signal, bound.signal]);
    try {
      const context = await this.#download(contextDigest, stop);
      return await images.build(contextDigest, context, (text) => print(build, text), stop);
    } catch (error) {
      if (!bound.signal.aborted) throw error;
      throw new ImageBuildError(`it took longer than ${buildMs / 1_000} s`, { cause: error });
    } finally {
      clearTimeout(timer);
      free();
    }
  }

  /** Waits until a build may run (B2); answers what gives its place back. */
  async #place(build: Build): Promise<() => void> {
    if (this.#running >= LIMITS.imageBuildsAtOnce) print(build, "waiting for other builds to end\n");
    const { signal } = build.ending;
    const unwanted = abortion(signal);
    while (this.#running >= LIMITS.imageBuildsAtOnce) {
      await Promise.race([this.#freed.promise, unwanted.promise]);
      signal.throwIfAborted();
    }
    unwanted.forget();
    this.#running += 1;
    return () => {
      this.#running -= 1;
      this.#freed.resolve();
      this.#freed = Promise.withResolvers();
    };
  }

  async #download(contextDigest: string, stop: AbortSignal): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    const hash = createHash("sha256");
    for await (const { chunk } of this.#settings.catalog.downloadBundle({ digest: contextDigest }, { signal: stop })) {
      chunks.push(chunk);
      hash.update(chunk);
    }
    const digest = hash.digest("hex");
    if (digest !== contextDigest) throw new Refusal("BundleIsInvalid", `the archive has the digest ${digest}`);
    return Buffer.concat(chunks);
  }

  #refusalOf(error: unknown, contextDigest: string): Refusal {
    if (error instanceof Refusal) return error;
    if (error instanceof ImageBuildError) {
      const message = `the image could not be built: ${error.message}`;
      return new Refusal("ImageBuildFailed", message, { metadata: { contextDigest } });
    }
    this.#settings.log.warn({ err: error, contextDigest }, "an image could not be built now");
    return new Refusal("Unavailable", "the image could not be built now: the container engine does not answer");
  }
}

function print(build: Build, text: string): void {
  if (build.characters > LIMITS.imageBuildOutputLength) return;
  build.characters += text.length;
  const rest = "\n… what the build prints from here on is not shown\n";
  build.output.push(build.characters > LIMITS.imageBuildOutputLength ? rest : text);
  const { change } = build;
  build.change = Promise.withResolvers();
  change.resolve();
}

/** Whether there is something new; false after a while without it. */
async function changes(build: Build, gone: Promise<void>): Promise<boolean> {
  const { promise: silence, resolve: end } = Promise.withResolvers<void>();
  let isSilent = false;
  const timer = setTimeout(() => {
    isSilent = true;
    end();
  }, LIMITS.heartbeatIntervalMs);
  await Promise.race([build.change.promise, silence, gone]);
  clearTimeout(timer);
  return !isSilent;
}

/** Settles when a signal is aborted, which outlives the interest in it. */
function abortion(signal: AbortSignal): { readonly promise: Promise<void>; forget(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onAbort = () => resolve();
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) resolve();
  return { promise, forget: () => signal.removeEventListener("abort", onAbort) };
}

function imagesAreNotSupported(): Refusal {
  const how = "deploy to a cluster whose schedulers have MULTINODE_RUNTIME=docker and build images";
  return new Refusal(
    "ImagesAreNotSupported",
    `this server builds no images, which a Dockerfile needs: ${how}, or remove the Dockerfile to deploy a bundle alone`,
  );
}

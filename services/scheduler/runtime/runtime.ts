/**
 * The port to what runs workers: processes, containers. A scheduler decides and the runtime does; it knows nothing of
 * invocations.
 *
 * R1. `start` may fail after the worker exists. `list` tells the truth, and `stop` ends whatever exists under the id.
 * R2. `stop` ends everything that the worker started, by force, and answers when it is gone. It may be repeated. While it cannot
 *     know that all is gone it does not answer: the slot stays taken.
 * R3. `onExit` is told once of each worker that ended, however it ended, also after `stop`, and whether that was for want of
 *     memory.
 * R4. No worker outlives its server, unless its runtime can find it again (`survivesRestart`).
 * R5. Where workers outlive their server, `close` ends those that this runtime started or adopted and did not release, and
 *     no others: some may be with another scheduler by now. `stop` ends any worker of the installation.
 * R6. A worker's first work is begun once at most, however often the runtime must try to start the worker: where the answer to
 *     a start was lost, it finds out whether the worker ran before it tries again, and then it tries without that work.
 */
import type { FirstWork } from "../../../sdk/typescript/src/worker/first_work.js";

export interface WorkerSpec {
  readonly workerId: string;
  /** What the worker needs to come to the scheduler. Secret: never in an environment variable or an argument. */
  readonly boot: WorkerBoot;
  /** What `RuntimeImages` calls the image to run in. Absent: the standard one. */
  readonly image?: string;
  /** Its limits from its start: for life where the runtime asks for that (`fixedResources`), and with `firstWork`. */
  readonly resources?: WorkerResources | undefined;
  /** What it begins with by itself, where the runtime can tell it (`takesFirstWork`). Secret, as `boot` is. */
  readonly firstWork?: FirstWork | undefined;
}

export interface WorkerBoot {
  /** "http://host:port" */
  readonly schedulerUrl: string;
  /** Of the other schedulers of the installation; default: none. */
  readonly otherUrls?: readonly string[];
  readonly workerId: string;
  readonly workerToken: string;
}

export interface WorkerResources {
  readonly cpu: number;
  readonly memoryBytes: number;
}

export interface WorkerExit {
  readonly workerId: string;
  /** For people: "exited with code 1", "was killed by SIGABRT". */
  readonly description: string;
  readonly outOfMemory: boolean;
}

/** `start` was asked for a worker in an image that is not there any more. Nothing exists then. */
export class ImageIsMissingError extends Error {
  override readonly name = "ImageIsMissingError";
}

/** The build ended without an image, for a reason that lies in what is built. */
export class ImageBuildError extends Error {
  override readonly name = "ImageBuildError";
}

/** Images beside the standard one, each built of a context: an archive of a folder with a Dockerfile, named by its digest. */
export interface RuntimeImages {
  /** Name of the image of a context, which this keeps from `removeUnused` for a while. Undefined: there is none. */
  find(contextDigest: string, stop: AbortSignal): Promise<string | undefined>;
  /**
   * Builds it, whole or not at all, and answers its name. `context` is the archive, a zip file.
   * @throws ImageBuildError
   */
  build(contextDigest: string, context: Uint8Array, print: (text: string) => void, stop: AbortSignal): Promise<string>;
  /** Removes images that were not asked for lately, whose contexts `findUsed` does not answer, and that no worker runs in. */
  removeUnused(
    findUsed: (contextDigests: readonly string[]) => Promise<ReadonlySet<string>>,
    stop: AbortSignal,
  ): Promise<void>;
}

export interface Runtime {
  /** "process", "docker", "swarm", "fake". */
  readonly name: string;
  /** Whether workers outlive their server: then it is a `SharedRuntime`. */
  readonly survivesRestart: boolean;
  /** Absent: workers run in the standard image, or in none. */
  readonly images?: RuntimeImages | undefined;
  /**
   * Present where a worker keeps the limits that it was started with, so that it serves only functions of that size: the
   * size of spares that are started for nobody. Elsewhere any spare serves any function, and `limit` sets its limits.
   */
  readonly fixedResources?: WorkerResources;
  /** Whether a worker can be started with what it is to run first, and with its limits. Default: no. */
  readonly takesFirstWork?: boolean;
  /** Starts a worker; answers what the runtime calls it. */
  start(spec: WorkerSpec): Promise<string>;
  /** Gives a worker the limits of the function that it is bound to, as far as the runtime can. */
  limit(workerId: string, resources: WorkerResources): Promise<void>;
  /** Called before a worker is told to fetch a bundle, or of what to run. Absent: workers keep no bundles for each other. */
  usesBundle?(workerId: string, digest: string): void;
  stop(workerId: string): Promise<void>;
  /** Identifiers of all workers that exist. */
  list(): Promise<string[]>;
  onExit(listener: (exit: WorkerExit) => void): void;
  /** What a worker printed outside of any function's own output, line by line. */
  onOutput(listener: (workerId: string, stream: "stdout" | "stderr", line: string) => void): void;
  /** Ends all workers. */
  close(): Promise<void>;
}

/** A worker of any scheduler of the installation. */
export interface FoundWorker {
  readonly workerId: string;
  /** Which scheduler started it. */
  readonly schedulerId: string;
  /** Whether it has ended, all that it started with it, and only remains are left to be removed. Default: that is not known. */
  readonly hasEnded?: boolean;
}

/** A runtime whose workers outlive their server and go on with another scheduler of the installation. */
export interface SharedRuntime extends Runtime {
  readonly survivesRestart: true;
  /** All workers of all schedulers of the installation, living or not. */
  listInstallation(): Promise<readonly FoundWorker[]>;
  /** Takes over a worker that another scheduler started: from now on its end is told here too. False: there is none. */
  adopt(workerId: string): Promise<boolean>;
  /** A worker is with another scheduler now: `close` leaves it alone. Its end is still told. */
  release(workerId: string): void;
  /** Absent: it keeps nothing. */
  readonly holders?: RuntimeHolders;
}

/** What a runtime keeps open for the workers to come of each scheduler, such as networks. */
export interface RuntimeHolders {
  /** The schedulers, living or not, that there are any for. */
  listSchedulers(): Promise<readonly string[]>;
  /** Removes those of a scheduler that is gone, as far as no worker is in them. */
  removeOf(schedulerId: string): Promise<void>;
}

export function isShared(runtime: Runtime): runtime is SharedRuntime {
  return runtime.survivesRestart;
}

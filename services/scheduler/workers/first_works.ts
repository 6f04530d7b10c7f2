/**
 * Executions that workers are started with, where their runtime can tell them: user code then begins while the worker is
 * still on its way to this scheduler.
 *
 * F1. Only for workers that serve one execution, so that what waits for a used one never waits for a new one.
 * F2. It is begun while the lease that it was made under is trusted, or not at all: a start that an engine carries out late
 *     begins nothing. With the worker's fence it has ended when the lease is over, as all that workers run.
 * F3. A hint. Where it is not made, comes late or is too large, the worker is given the execution when it is there (C4).
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Code } from "../../../gen/multinode/registry/v1/function.pb.js";
import type { Payload } from "../../../gen/multinode/type/v1/payload.pb.js";
import { JSON_CONTENT_TYPE } from "../../../sdk/typescript/src/protocol/names.js";
import type { TextPayload } from "../../../sdk/typescript/src/values/codec.js";
import type { FirstWork } from "../../../sdk/typescript/src/worker/first_work.js";
import { beginWithinMs, type Run } from "../run.js";
import type { SchedulerSettings } from "../scheduler_settings.js";
import { LEAST_BOOT_CPU } from "./worker_pool.js";

/** Archives that are larger are fetched by the worker. */
const ARCHIVE_BYTES = 512 * 1024;
/** A registry that answers more slowly than this is not waited for. */
const MAKE_MS = 2_000;
/** Archives that are kept. */
const MOST_ARCHIVES = 16;

export class FirstWorks {
  readonly #settings: SchedulerSettings;
  readonly #trustedForMs: () => number;
  readonly #codeOf: (versionId: string) => Promise<Code>;
  /** In base64, by digest; undefined: too large. */
  readonly #archives = new Map<string, Promise<string | undefined>>();

  /** @param trustedForMs for how long from now the lease of this scheduler is trusted */
  constructor(settings: SchedulerSettings, trustedForMs: () => number, codeOf: (versionId: string) => Promise<Code>) {
    this.#settings = settings;
    this.#trustedForMs = trustedForMs;
    this.#codeOf = codeOf;
  }

  suits({ shape, leased, interrupt }: Run): boolean {
    if (this.#settings.runtime.takesFirstWork !== true || interrupt !== undefined) return false;
    // With less it would boot slowly: it gets its limit when it has booted.
    if ((leased.function?.options?.cpu ?? 0) < LEAST_BOOT_CPU || shape.maxInvocationsPerWorker !== 1) return false;
    const { positional, named } = leased.arguments ?? {};
    return isText(positional) && isText(named);
  }

  /** Undefined: it is to be given in the usual way. Answers in a bounded time, since the start of a worker waits for it. */
  async make(run: Run): Promise<FirstWork | undefined> {
    return await Promise.race([this.#make(run), delay(MAKE_MS, undefined, { ref: false })]);
  }

  async #make(run: Run): Promise<FirstWork | undefined> {
    const { ref, leased } = run;
    const settings = this.#settings;
    const { now = () => Date.now() } = settings;
    try {
      const { source, environment } = await this.#codeOf(leased.versionId);
      if (source?.$case !== "bundle") return undefined;
      const { digest } = source.value;
      const archiveBase64 = await this.#archiveOf(digest);
      if (archiveBase64 === undefined) return undefined;
      const withinMs = beginWithinMs(run);
      return {
        notAfterMs: now() + this.#trustedForMs(),
        ...(withinMs === undefined ? {} : { beginByMs: now() + withinMs }),
        apiUrl: settings.apiUrl(),
        maxPayloadBytes: settings.payloadBytes,
        memoryBytes: leased.function?.options?.memoryBytes ?? 0,
        bind: {
          projectName: leased.projectName,
          versionId: leased.versionId,
          functionName: leased.function?.functionName ?? "",
          environment,
        },
        assign: {
          executionId: ref.executionId,
          invocationId: ref.invocationId,
          attemptNumber: leased.attemptNumber,
          parentInvocationId: leased.parentInvocationId,
          executionToken: leased.executionToken,
          arguments: { positional: textOf(leased.arguments?.positional), named: textOf(leased.arguments?.named) },
        },
        bundle: { digest, archiveBase64 },
      };
    } catch (err) {
      settings.log.debug({ err, executionId: ref.executionId }, "a worker is started without its first work");
      return undefined;
    }
  }

  #archiveOf(digest: string): Promise<string | undefined> {
    let archive = this.#archives.get(digest);
    if (archive === undefined) {
      archive = this.#download(digest);
      archive.catch(() => this.#archives.delete(digest));
      const [oldest] = this.#archives.keys();
      if (oldest !== undefined && this.#archives.size >= MOST_ARCHIVES) this.#archives.delete(oldest);
      this.#archives.set(digest, archive);
    }
    return archive;
  }

  async #download(digest: string): Promise<string | undefined> {
    const chunks: Uint8Array[] = [];
    let sizeBytes = 0;
    for await (const { chunk } of this.#settings.catalog.downloadBundle({ digest })) {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > ARCHIVE_BYTES) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("base64");
  }
}

function isText(payload: Payload | undefined): boolean {
  return payload === undefined || payload.contentType === "" || payload.contentType === JSON_CONTENT_TYPE;
}

function textOf(payload: Payload | undefined): TextPayload | undefined {
  return payload && { contentType: payload.contentType, data: payload.data.toString() };
}

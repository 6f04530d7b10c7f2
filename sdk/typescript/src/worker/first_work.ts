/**
 * What a worker is started for. Its main thread begins with it while the supervisor is still on its way to the scheduler;
 * then the worker brings the execution to its first connection, as it does to any other.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { unpackArchive } from "../bundle/unpack.js";
import { errorText } from "./error_text.js";
import type { AssignMessage, BindMessage } from "./messages.js";

/** JSON: payloads have text. */
export interface FirstWork {
  /** By the machine's clock, which a container shares with its scheduler: not to be begun after this, in milliseconds. */
  readonly notAfterMs: number;
  /** By the same clock: user code is not to begin after this. Absent: at any time. */
  readonly beginByMs?: number;
  readonly apiUrl: string;
  readonly maxPayloadBytes: number;
  readonly bind: Omit<BindMessage, "kind" | "code">;
  readonly assign: Omit<AssignMessage, "kind">;
  readonly memoryBytes: number;
  readonly bundle: { readonly digest: string; readonly archiveBase64: string };
}

/** As a worker reads it. */
export interface BootWork extends FirstWork {
  /** As in the configuration, which is not for the main thread. */
  readonly bundleCacheDir: string;
}

/** Work that can begin. */
export interface PreparedWork {
  readonly work: BootWork;
  readonly code: BindMessage["code"];
}

/** Makes the folder of the code. Undefined: it is too late to begin, since it may be another worker's by now. */
export async function prepare(work: BootWork): Promise<PreparedWork | undefined> {
  let code: BindMessage["code"];
  try {
    code = { folder: await codeFolderOf(work) };
  } catch (error) {
    code = { error: errorText(error) };
  }
  const { notAfterMs, beginByMs = Number.POSITIVE_INFINITY } = work;
  return Date.now() > Math.min(notAfterMs, beginByMs) ? undefined : { work, code };
}

async function codeFolderOf({ bundle, bundleCacheDir }: BootWork): Promise<string> {
  const folder = join(bundleCacheDir, bundle.digest);
  await mkdir(folder, { recursive: true });
  try {
    await unpackArchive(Buffer.from(bundle.archiveBase64, "base64"), folder);
  } catch (error) {
    await rm(folder, { recursive: true }); // a folder of this name is taken for the code
    throw error;
  }
  return folder;
}

import type { OutputStream } from "./execution_log.js";

type Write = typeof process.stdout.write;

/** Where the text that was written here belongs; undefined: to the process's own stream. */
export type FindLog = () => { write(stream: OutputStream, chunk: string | Uint8Array): void } | undefined;

/**
 * Sends what the main thread writes to its standard streams, by itself or through `console`, to the log of the execution
 * that wrote it. Child processes that inherit the streams are not seen.
 */
export function captureConsole(findLog: FindLog): void {
  for (const stream of ["stdout", "stderr"] as const) {
    const own = process[stream].write.bind(process[stream]);
    process[stream].write = captureWrite(stream, own, findLog);
  }
}

function captureWrite(stream: OutputStream, own: Write, findLog: FindLog): Write {
  return (
    chunk: string | Uint8Array,
    encodingOrDone?: BufferEncoding | ((error?: Error | null) => void),
    done?: (error?: Error | null) => void,
  ): boolean => {
    const encoding = typeof encodingOrDone === "string" ? encodingOrDone : undefined;
    const callback = typeof encodingOrDone === "function" ? encodingOrDone : done;
    const log = findLog();
    if (log === undefined) return own(chunk, encoding, callback);
    const isText = typeof chunk === "string" && (encoding === undefined || encoding === "utf8" || encoding === "utf-8");
    log.write(stream, isText || typeof chunk !== "string" ? chunk : Buffer.from(chunk, encoding));
    if (callback !== undefined) process.nextTick(callback);
    return true;
  };
}

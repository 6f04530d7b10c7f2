/**
 * Logs of the services: one JSON line an entry, a constant message, values in fields. Whoever asks a service again and again
 * while it is away may log each failure: that is said in short, and at most every few seconds, with how often it was.
 */
import { type DestinationStream, type Logger, type LoggerOptions, pino, stdSerializers } from "pino";
import { Refusal } from "./errors.js";

export type { Logger };

type LogMethod = NonNullable<NonNullable<LoggerOptions["hooks"]>["logMethod"]>;
type Entry = Parameters<LogMethod>[0];

/** Failures of one kind are logged no more often. */
const REPEAT_MS = 5_000;
const ERROR_LEVEL = pino.levels.values["error"] ?? 0;

/**
 * `level` is one of pino's: "debug", "info", "warn", "error", "silent". Secrets are kept out by their field names.
 *
 * @param destination default: standard output
 */
export function createLogger(service: string, level: string, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    name: service,
    level,
    redact: { paths: ["authorization", "*.authorization", "apiKey", "token", "*.token"], censor: "[redacted]" },
    serializers: { err: (err: Error) => (isOutage(err) ? inShort(err) : stdSerializers.err(err)) },
    hooks: { logMethod: notTooOften() },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** Whether it says that somebody else is away, who answers in vain or too late. */
function isOutage(err: unknown): err is Error {
  if (err instanceof Refusal) return err.reason === "Unavailable" || err.reason === "ResourceExhausted";
  return err instanceof Error && (err.name === "AbortError" || err.name === "TimeoutError");
}

/** Where it was thrown is always the same and says nothing. */
function inShort(err: Error): object {
  const { name: type, message, cause } = err;
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return { type, ...(err instanceof Refusal ? { code: err.reason } : {}), message: `${message}${why}` };
}

/** Errors are logged each: they are none that pass by themselves, and callers may have been told of their lines. */
function notTooOften(): LogMethod {
  /** What was not logged since the last of its kind was: how often, and the newest. */
  const unsaid = new Map<string, { times: number; entry: Entry }>();
  return function logMethod(entry, method, level) {
    const [fields, message] = entry as [unknown, string?];
    const err: unknown = typeof fields === "object" && fields !== null ? Reflect.get(fields, "err") : undefined;
    if (level >= ERROR_LEVEL || !isOutage(err)) {
      method.apply(this, entry);
      return;
    }
    const kind = `${message}: ${err.message}`;
    const before = unsaid.get(kind);
    if (before !== undefined) {
      before.times += 1;
      before.entry = entry;
      return;
    }
    const rest = () => {
      unsaid.set(kind, { times: 0, entry });
      setTimeout(() => {
        const since = unsaid.get(kind);
        unsaid.delete(kind);
        if (since === undefined || since.times === 0) return;
        const [last, ...others] = since.entry as [object, string?];
        method.call(this, { ...last, times: since.times }, ...others);
        rest();
      }, REPEAT_MS).unref();
    };
    method.apply(this, entry);
    rest();
  };
}

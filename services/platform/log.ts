/** Logs of the services: one JSON line an entry, a constant message, values in fields. */
import { type Logger, pino } from "pino";

export type { Logger };

/** `level` is one of pino's: "debug", "info", "warn", "error", "silent". Secrets are kept out by their field names. */
export function createLogger(service: string, level: string): Logger {
  return pino({
    name: service,
    level,
    redact: { paths: ["authorization", "*.authorization", "apiKey", "token", "*.token"], censor: "[redacted]" },
  });
}

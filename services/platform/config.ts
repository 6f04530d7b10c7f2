/** Settings of a service, from its environment, checked: a wrong or missing one is named and refused. */
import { accessSync, constants } from "node:fs";
import { z } from "zod";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { natsUrlSetting } from "./bus/nats_address.js";
import { SettingsError } from "./settings_error.js";

/** What must not get into a log. */
const SECRET = /TOKEN|PASSWORD|SECRET|API_KEY|DATABASE_URL|NATS_URL/;

/** @throws SettingsError that names every wrong setting. */
export function readSettings<T extends z.ZodRawShape>(shape: T, env: NodeJS.ProcessEnv): z.infer<z.ZodObject<T>> {
  const empty = Object.keys(shape).filter((name) => env[name] === "");
  const result = z.object(shape).safeParse(env, { error: describeIssue });
  if (result.success && empty.length === 0) return result.data;
  const problems = (result.error?.issues ?? []).map(({ path, message }) => {
    const name = String(path[0]);
    const value = env[name];
    if (value === "") return emptySetting(name);
    if (value === undefined) return `${name} is missing`;
    // A URL may hold a password, whatever its setting is called.
    return SECRET.test(name) || value.includes("@")
      ? `${name} is wrong: ${message}`
      : `${name} is "${value}": ${message}`;
  });
  throw new SettingsError([...new Set([...empty.map(emptySetting), ...problems])]);
}

function emptySetting(name: string): string {
  return `${name} is empty: leave it out instead`;
}

/** Where a setting does not say it in words of its own. */
const describeIssue: z.core.$ZodErrorMap = (issue) =>
  issue.code === "invalid_value"
    ? `must be ${issue.values.map((value) => `"${String(value)}"`).join(" or ")}`
    : undefined;

export const wholeNumber = (least: number, most: number) =>
  z
    .string()
    .refine((text) => /^\d{1,15}$/.test(text) && Number(text) >= least && Number(text) <= most, {
      error: `must be a whole number from ${least} to ${most}`,
    })
    .transform(Number);

/** "host:port" */
export const addressSetting = z
  .string()
  .refine(
    (text) =>
      /^(\[[0-9a-f:]+\]|[^\s:]+):\d{1,5}$/i.test(text) && Number(text.slice(text.lastIndexOf(":") + 1)) <= 65_535,
    { error: "must be a host and a port, such as 127.0.0.1:7420" },
  );

export const listenSetting = addressSetting.transform((address) => {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) };
});

/** Largest payload. All services of an installation and its clients are told the same. */
export const PAYLOAD_SETTING = {
  MULTINODE_MAX_PAYLOAD_BYTES: wholeNumber(LIMITS.payloadBytesMin, LIMITS.payloadBytesMax).default(LIMITS.payloadBytes),
};

/** How long invocations are kept after their end, in days; default: until their project is undeployed. */
export const RETENTION_SETTING = {
  MULTINODE_RETENTION_DAYS: wholeNumber(LIMITS.retentionDaysMin, LIMITS.retentionDaysMax).optional(),
};

/** Path of a file that this process may read. */
const fileSetting = z.string().superRefine((path, context) => {
  try {
    accessSync(path, constants.R_OK);
  } catch (error) {
    context.addIssue({ code: "custom", message: `cannot be read: ${(error as NodeJS.ErrnoException).code}` });
  }
});

/** What every service is told. */
export const COMMON_SETTINGS = {
  MULTINODE_LISTEN: listenSetting,
  MULTINODE_DATA_DIR: z.string().min(1),
  /** What the services of one installation share; only they may call each other's inner methods. */
  MULTINODE_SERVICE_TOKEN: z.string().regex(/^[\x21-\x7e]{32,200}$/, "must be 32 to 200 printable characters"),
  /** Files in PEM: this service's certificate, its key, and the authority of all services. All of them, or none. */
  MULTINODE_TLS_CERT: fileSetting.optional(),
  MULTINODE_TLS_KEY: fileSetting.optional(),
  MULTINODE_TLS_CA: fileSetting.optional(),
  MULTINODE_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  /** NATS servers that carry events between the services; default: none, and the services hear each other over gRPC. */
  MULTINODE_NATS_URL: natsUrlSetting.optional(),
  /** Certificates, in PEM, of the authority behind those of the NATS servers; default: the well-known ones. */
  MULTINODE_NATS_CA: fileSetting.optional(),
  /** A file that is fresh while calls are welcome; default: none (heartbeat.ts). */
  MULTINODE_HEALTH_FILE: z.string().min(1).optional(),
  /** Where metrics are served for Prometheus, over HTTP and without a key; default: nothing is counted. */
  MULTINODE_METRICS_LISTEN: listenSetting.optional(),
  /** Whether plain text may go to other machines: between services, to NATS, to workers. */
  MULTINODE_INSECURE: z.enum(["true", "false"]).default("false"),
};

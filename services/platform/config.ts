/** Settings of a service, from its environment, checked: a wrong or missing one is named and refused. */
import { z } from "zod";

/** @throws Error that names every wrong setting. */
export function readSettings<T extends z.ZodRawShape>(shape: T, env: NodeJS.ProcessEnv): z.infer<z.ZodObject<T>> {
  const result = z.object(shape).safeParse(env);
  if (result.success) return result.data;
  const lines = result.error.issues.map(({ path, message }) => {
    const name = String(path[0]);
    const value = env[name];
    return value === undefined ? `${name} is missing: ${message}` : `${name} is wrong: ${message}`;
  });
  throw new Error(`the settings are wrong:\n  ${lines.join("\n  ")}`);
}

/** "host:port" */
export const addressSetting = z
  .string()
  .regex(/^(\[[0-9a-f:]+\]|[^\s:]+):\d{1,5}$/i, 'an address is needed, such as "127.0.0.1:7420"');

export const listenSetting = addressSetting.transform((address) => {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) };
});

/** What every service is told. */
export const COMMON_SETTINGS = {
  MULTINODE_LISTEN: listenSetting,
  MULTINODE_DATA_DIR: z.string().min(1),
  /** What the services of one installation share; only they may call each other's inner methods. */
  MULTINODE_SERVICE_TOKEN: z.string().regex(/^[\x21-\x7e]{32,200}$/, "at least 32 printable characters are needed"),
  MULTINODE_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  MULTINODE_INSECURE: z.enum(["true", "false"]).default("false"),
};

import { expect, it } from "vitest";
import { z } from "zod";
import {
  addressSetting,
  COMMON_SETTINGS,
  listenSetting,
  PAYLOAD_SETTING,
  RETENTION_SETTING,
  readSettings,
} from "./config.js";
import { SettingsError } from "./settings_error.js";

function problemsOf(shape: z.ZodRawShape, env: Record<string, string>): readonly string[] {
  try {
    readSettings(shape, env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

it("settings that are wrong are told in a line for each, with name, value and what it must be", () => {
  const env = {
    MULTINODE_LISTEN: "127.0.0.1:99999",
    MULTINODE_SERVICE_TOKEN: "hush",
    MULTINODE_LOG_LEVEL: "loud",
    MULTINODE_INSECURE: "yes",
    MULTINODE_TLS_CA: "/nowhere",
    MULTINODE_NATS_URL: "hush",
    MULTINODE_MAX_PAYLOAD_BYTES: "abc",
    MULTINODE_RETENTION_DAYS: "1",
  };
  expect(problemsOf({ ...COMMON_SETTINGS, ...PAYLOAD_SETTING, ...RETENTION_SETTING }, env)).toEqual([
    'MULTINODE_LISTEN is "127.0.0.1:99999": must be a host and a port, such as 127.0.0.1:7420',
    "MULTINODE_DATA_DIR is missing",
    "MULTINODE_SERVICE_TOKEN is wrong: must be 32 to 200 printable characters",
    'MULTINODE_TLS_CA is "/nowhere": cannot be read: ENOENT',
    'MULTINODE_LOG_LEVEL is "loud": must be "debug" or "info" or "warn" or "error" or "silent"',
    'MULTINODE_NATS_URL is wrong: server 1 of 1 is no URL such as "nats://user:password@host:4222"',
    'MULTINODE_INSECURE is "yes": must be "true" or "false"',
    'MULTINODE_MAX_PAYLOAD_BYTES is "abc": must be a whole number from 1000 to 4000000',
    'MULTINODE_RETENTION_DAYS is "1": must be a whole number from 2 to 3650',
  ]);
});

it("a value that may hold a password is not told, whatever its setting is called", () => {
  expect(problemsOf({ MULTINODE_SOMETHING: addressSetting }, { MULTINODE_SOMETHING: "u:hush@host" })).toEqual([
    "MULTINODE_SOMETHING is wrong: must be a host and a port, such as 127.0.0.1:7420",
  ]);
});

it("an empty setting is refused, and one that is not known is not looked at", () => {
  const shape = { MULTINODE_A: z.string().optional(), MULTINODE_B: z.string().default("b") };
  expect(problemsOf(shape, { MULTINODE_A: "", MULTINODE_B: "" })).toEqual([
    "MULTINODE_A is empty: leave it out instead",
    "MULTINODE_B is empty: leave it out instead",
  ]);
  expect(readSettings(shape, { MULTINODE_OTHER: "" })).toEqual({ MULTINODE_B: "b" });
});

it("an address may be of IPv6", () => {
  expect(readSettings({ A: listenSetting }, { A: "[::1]:7420" }).A).toEqual({ host: "::1", port: 7420 });
});

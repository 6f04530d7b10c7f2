import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ApiKeyIsInvalid, CredentialsMissingError, ParameterValidationError } from "../errors.js";
import { readLoginFile, removeLoginFile, resolveCredentials, writeLoginFile } from "./credentials.js";
import { openClient } from "./open_client.js";

let home: string;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "multinode-credentials-"));
  env = { MULTINODE_HOME: join(home, "nested") };
});

afterEach(() => rm(home, { recursive: true }));

test("the login file is written for its owner only, read and removed", async () => {
  const path = await writeLoginFile({ apiUrl: "http://a", apiKey: "k" }, env);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  await expect(readLoginFile(env)).resolves.toStrictEqual({ apiUrl: "http://a", apiKey: "k" });
  await expect(removeLoginFile(env)).resolves.toBe(true);
  await expect(removeLoginFile(env)).resolves.toBe(false);
  await expect(readLoginFile(env)).resolves.toStrictEqual({});
});

test("each of the two comes from the first place that has it", async () => {
  await writeLoginFile({ apiUrl: "http://file", apiKey: "file-key" }, env);
  expect(resolveCredentials({}, env)).toMatchObject({ apiUrl: "http://file", apiKey: "file-key" });
  env["MULTINODE_API_URL"] = "http://env";
  expect(resolveCredentials({}, env)).toStrictEqual({ apiUrl: "http://env", apiKey: "file-key" });
  expect(resolveCredentials({ apiKey: "mine" }, env)).toMatchObject({ apiUrl: "http://env", apiKey: "mine" });
});

test("blanks around them are left out, wherever they come from", async () => {
  const clean = { apiUrl: "http://a", apiKey: "mn_secret" };
  const padded = { apiUrl: " http://a\n", apiKey: "mn_secret\r\n" };
  expect(resolveCredentials(padded, env)).toMatchObject(clean);
  expect(
    resolveCredentials({}, { ...env, MULTINODE_API_URL: padded.apiUrl, MULTINODE_API_KEY: padded.apiKey }),
  ).toMatchObject(clean);
  await writeLoginFile(padded, env);
  expect(resolveCredentials({ apiKey: "\n" }, env)).toMatchObject(clean);
});

test.each(["mn_sec\nret", "mn_sec ret", "mn_secrèt", "mn_sec\u0000ret"])(
  "the key %j is refused and not shown",
  (apiKey) => {
    const error = errorOf(() => openClient({ apiUrl: "http://a", apiKey }));
    expect(error).toBeInstanceOf(ApiKeyIsInvalid);
    expect(error.message).toMatch(/its character [78] of /);
    expect(error.message).not.toContain("mn_");
  },
);

test("a URL with a control character, and what is no text, are refused and not shown", () => {
  for (const bad of [{ apiUrl: "http://mn_\nsecret" }, { apiUrl: 12_345 as never }, { apiKey: 12_345 as never }]) {
    const error = errorOf(() => resolveCredentials({ apiUrl: "http://a", apiKey: "k", ...bad }, env));
    expect(error).toBeInstanceOf(ParameterValidationError);
    expect(error).toMatchObject({ violations: [{ field: Object.keys(bad)[0] }] });
    expect(error.message).not.toMatch(/secret|12345/);
  }
});

function errorOf(call: () => unknown): Error {
  try {
    call();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing was thrown");
}

test("a missing one is named, with the ways to set it", async () => {
  const path = await writeLoginFile({ apiUrl: "http://file", apiKey: "" }, env);
  expect(() => resolveCredentials({}, env)).toThrow(CredentialsMissingError);
  expect(() => resolveCredentials({}, env)).toThrow(
    `the API key of the Multinode server is missing: pass apiKey, set MULTINODE_API_KEY, or run "multinode login" (it writes ${path})`,
  );
  await writeFile(path, "{ damaged");
  expect(() => resolveCredentials({}, env)).toThrow("the API URL and the API key of the Multinode server are missing");
});

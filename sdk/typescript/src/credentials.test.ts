import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readLoginFile, removeLoginFile, resolveCredentials, writeLoginFile } from "./credentials.js";
import { CredentialsMissingError } from "./errors.js";

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

test("a missing one is named, with the ways to set it", async () => {
  const path = await writeLoginFile({ apiUrl: "http://file", apiKey: "" }, env);
  expect(() => resolveCredentials({}, env)).toThrow(CredentialsMissingError);
  expect(() => resolveCredentials({}, env)).toThrow(
    `the API key of the Multinode server is missing: pass apiKey, set MULTINODE_API_KEY, or run "multinode login" (it writes ${path})`,
  );
  await writeFile(path, "{ damaged");
  expect(() => resolveCredentials({}, env)).toThrow("the API URL and the API key of the Multinode server are missing");
});

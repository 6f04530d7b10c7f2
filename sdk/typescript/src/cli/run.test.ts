import { expect, test } from "vitest";
import { runCommand } from "./testing/test_io.js";

const ENV = { MULTINODE_HOME: "/nonexistent" };

test("help names every command and goes to stdout", async () => {
  const { exitStatus, stdout, stderr } = await runCommand(["--help"]);
  expect({ exitStatus, stderr }).toEqual({ exitStatus: 0, stderr: "" });
  for (const name of [
    "login",
    "logout",
    "deploy",
    "upgrade",
    "undeploy",
    "list",
    "describe",
    "logs",
    "up",
    "start",
    "watch",
    "cancel",
  ]) {
    expect(stdout).toMatch(new RegExp(`^  ${name} `, "m"));
  }
  expect(stdout).not.toContain("\u001b");
});

test("help is coloured on a terminal, and not where NO_COLOR is set", async () => {
  expect((await runCommand(["--help"], { isTerminal: true })).stdout).toContain("\u001b[1m");
  expect((await runCommand(["--help"], { isTerminal: true, env: { NO_COLOR: "1" } })).stdout).not.toContain("\u001b");
});

test("the version", async () => {
  expect((await runCommand(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test.each<[string, string[], RegExp]>([
  ["no command", [], /Usage: multinode/],
  ["an unknown command", ["deplyo"], /unknown command 'deplyo'[\s\S]*Did you mean deploy\?/],
  ["an unknown option", ["list", "--jsn"], /unknown option '--jsn'/],
  ["a missing option", ["deploy", "."], /required option '-p, --project-name <name>'/],
  ["a missing folder", ["deploy", "-p", "shop"], /missing required argument 'dir'/],
  ["too many arguments", ["list", "shop"], /too many arguments/],
  ["a bad project name", ["undeploy", "-p", "1shop"], /A project name is 1 to 64 letters/],
  [
    "a bad project name in the first way to write it",
    ["deploy", ".", "project-name=1shop"],
    /A project name is 1 to 64/,
  ],
  ["a bad function name", ["start", "-p", "shop", "-f", "a b"], /A function name is 1 to 128 letters/],
  ["a bad id", ["watch", "-i", "inv-1"], /"inv-" and 26 letters and digits/],
  ["a bad duration", ["start", "-p", "shop", "-f", "f", "--ttl", "soon"], /It must be a duration/],
  ["an empty key", ["start", "-p", "shop", "-f", "f", "--idempotency-key", ""], /It must have 1 to 128 characters/],
  ["no time to begin", ["start", "-p", "shop", "-f", "f", "--ttl", "0s"], /more than 0 and at most 365d/],
  ["a bad port", ["up", "--port", "70000"], /whole number from 0 to 65535/],
  ["a bad list of arguments", ["start", "-p", "shop", "-f", "f", "--args", "{}"], /--args takes a JSON list/],
  ["arguments twice", ["start", "-p", "shop", "-f", "f", "--args", "[]", "1"], /not both/],
  ["nothing to describe", ["describe"], /Give --project-name or --invocation-id/],
  ["a login that can ask nobody", ["login"], /nobody can be asked/],
  ["a bad address", ["login", "--api-url", "ftp://x", "--api-key", "k"], /no address of a server/],
  ["an empty API key", ["login", "--api-url", "http://x", "--api-key", " "], /no API key in --api-key/],
])("%s is a wrong command line", async (_what, argv, message) => {
  const { exitStatus, stdout, stderr } = await runCommand(argv, { env: ENV });
  expect({ exitStatus, stdout }).toEqual({ exitStatus: 2, stdout: "" });
  expect(stderr).toMatch(message);
});

test("missing credentials are told in two lines", async () => {
  const { exitStatus, stderr } = await runCommand(["list"], { env: ENV });
  expect(exitStatus).toBe(1);
  expect(stderr.trim().split("\n")).toEqual([
    expect.stringMatching(/^error the API URL and the API key .* are missing/),
    'next  Run "multinode login", or "multinode up" for a server of your own.',
  ]);
});

test("with --json an error is JSON, whatever it is", async () => {
  const failed = await runCommand(["list", "--json"], { env: ENV });
  expect(JSON.parse(failed.stderr)).toMatchObject({
    error: { reason: "CredentialsMissingError", hint: expect.any(String) },
  });
  const wrong = await runCommand(["list", "--json", "--nope"], { env: ENV });
  expect(wrong.exitStatus).toBe(2);
  expect(JSON.parse(wrong.stderr)).toMatchObject({
    error: { reason: "UsageError", message: "unknown option '--nope'" },
  });
});

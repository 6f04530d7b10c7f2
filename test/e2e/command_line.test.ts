import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CLI_ENVIRONMENT, CLI_PROGRAM } from "../harness/cli_program.js";
import { writeProject } from "../harness/connected_target.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, untilStatus, untilTerminated } from "../harness/observe.js";
import { openTarget, type Target } from "../harness/target.js";

const main = (version: string) => `
  import { Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  export const add = mn.function((x: number, y: number) => { console.log("adding"); return x + y; });
  export const which = mn.function(() => "${version}" + process.env.SUFFIX);
  export const fails = mn.function(() => { throw new TypeError("as asked"); });
  export const held = mn.function({ gracePeriod: 0 }, (gate: string) => passGate(gate));
`;
const files = (version: string) => ({ "main.ts": main(version), "gate.ts": GATE_SOURCE, ".env": "SUFFIX=!\n" });

interface Ended {
  readonly exitStatus: number;
  readonly stdout: string;
  readonly stderr: string;
}

let target: Target;
let home: string;
let projectName: string;
let versionId: string;
const folders: string[] = [];
const gates = await Gates.open();
beforeAll(async () => {
  target = openTarget();
  home = mkdtempSync(join(tmpdir(), "multinode-home-"));
  projectName = target.newProjectName();
  const deployed = await multinode("deploy", await folder("one"), "--project-name", projectName, "--json");
  if (deployed.exitStatus !== 0) throw new Error(deployed.stderr);
  ({ versionId } = JSON.parse(deployed.stdout));
});
afterAll(async () => {
  for (const path of [home, ...folders]) rmSync(path, { recursive: true, force: true });
  gates.close();
  await target.close();
});

async function folder(version: string): Promise<string> {
  const path = await writeProject(files(version));
  folders.push(path);
  return path;
}

function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { ...CLI_ENVIRONMENT, MULTINODE_HOME: home, ...env }, timeout: 30_000 };
    execFile(process.execPath, [CLI_PROGRAM, ...args], options, (error, stdout, stderr) => {
      resolve({ exitStatus: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** The command line, as a program, with the credentials in its environment. */
function multinode(...args: string[]): Promise<Ended> {
  return run(args, { MULTINODE_API_URL: target.apiUrl, MULTINODE_API_KEY: target.apiKey });
}

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { exitStatus, stdout, stderr } = await multinode(...args, "--json");
  expect({ exitStatus, stderr }).toEqual({ exitStatus: 0, stderr: "" });
  return JSON.parse(stdout);
}

describe("the command line", () => {
  test("deploy makes a project once, upgrade makes another version of one that exists", async () => {
    const again = await multinode("deploy", folders[0] ?? "", "--project-name", projectName);
    expect(again).toMatchObject({ exitStatus: 1, stderr: expect.stringContaining("already") });
    const start = ["start", "-p", projectName, "-f", "which", "--watch", "--json"];
    expect(await multinode(...start)).toMatchObject({ exitStatus: 0, stdout: expect.stringContaining("one!") });
    const upgraded = await json("upgrade", await folder("two"), "--project-name", projectName);
    expect(upgraded["versionId"]).not.toBe(versionId);
    expect((await multinode(...start)).stdout).toContain("two!");
    expect((await multinode(...start, "--version-id", versionId)).stdout).toContain("one!");
    const missing = await multinode("upgrade", folders[0] ?? "", "--project-name", target.newProjectName());
    expect(missing.exitStatus).toBe(1);
    const made = target.newProjectName();
    expect(await json("upgrade", folders[0] ?? "", "--project-name", made, "--deploy")).toMatchObject({
      projectName: made,
    });
    expect((await multinode("undeploy", "--project-name", made)).exitStatus).toBe(0);
  });

  test("start writes the id, watch follows it, describe and logs show it", async () => {
    const { exitStatus, stdout } = await multinode("start", "-p", projectName, "-f", "add", "2", "3");
    expect(exitStatus).toBe(0);
    const id = stdout.trim();
    expect(id).toMatch(/^inv-/);
    expect(await multinode("watch", "-i", id)).toMatchObject({ exitStatus: 0, stdout: expect.stringContaining("5") });
    const fn = target.fn(projectName, "add");
    await untilTerminated(fn, id);
    const place = ["-p", projectName, "-f", "add", "-i", id];
    expect(JSON.stringify(await json("describe", ...place))).toContain('"SUCCEEDED"');
    expect(await multinode("logs", ...place)).toMatchObject({
      exitStatus: 0,
      stdout: expect.stringContaining("adding"),
    });
    const followed = await multinode("logs", ...place, "--follow");
    expect(followed).toMatchObject({ exitStatus: 0, stdout: expect.stringContaining("adding") });
  });

  test("list and describe", async () => {
    expect((await multinode("list")).exitStatus).toBe(0);
    expect(JSON.stringify(await json("list"))).toContain(projectName);
    expect(JSON.stringify(await json("describe", "-p", projectName))).toContain(versionId);
    const version = JSON.stringify(await json("describe", "-p", projectName, "--version-id", versionId));
    for (const name of ["add", "which", "fails", "held"]) expect(version).toContain(`"${name}"`);
    expect(JSON.stringify(await json("describe", "-p", projectName, "-f", "add"))).toContain("timeout");
  });

  test("cancel ends an invocation", async () => {
    const fn = target.fn(projectName, "held");
    const id = await fn.start(gates.place());
    await untilStatus(fn, id, "RUNNING");
    expect((await multinode("cancel", "-i", id)).exitStatus).toBe(0);
    expect((await untilTerminated(fn, id)).status).toBe("CANCELLED");
  });

  test("exit status 1: the operation failed; 2: the command line was wrong", async () => {
    const failed = await multinode("start", "-p", projectName, "-f", "fails", "--watch");
    expect(failed.exitStatus).toBe(1);
    expect(failed.stdout + failed.stderr).toContain("TypeError: as asked");
    expect((await multinode("start", "-p", projectName, "-f", "unknown")).exitStatus).toBe(1);
    expect((await multinode("describe", "-p", target.newProjectName())).exitStatus).toBe(1);
    for (const wrong of [
      ["nonsense"],
      ["start"],
      ["describe", "-p", "9 bad"],
      ["watch", "-i", "inv-1"],
      ["list", "--nope"],
    ]) {
      expect(await multinode(...wrong)).toMatchObject({ exitStatus: 2, stderr: expect.stringMatching(/./) });
    }
  });

  test("login writes the credentials that later commands use, and the environment comes before them", async () => {
    const nowhere = await run(["list"], {});
    expect(nowhere).toMatchObject({ exitStatus: 1, stderr: expect.stringContaining("login") });
    const login = await run(["login", "--api-url", target.apiUrl, "--api-key", target.apiKey], {});
    expect(login).toMatchObject({ exitStatus: 0 });
    expect((await run(["list", "--json"], {})).stdout).toContain(projectName);
    const other = await run(["list"], { MULTINODE_API_KEY: "wrong" });
    expect(other).toMatchObject({ exitStatus: 1, stderr: expect.stringContaining("key") });
    expect((await run(["logout"], {})).exitStatus).toBe(0);
    expect((await run(["list"], {})).exitStatus).toBe(1);
  });

  test("keys makes, lists and revokes API keys, and what one may not do is told with what to do", async () => {
    const options = ["--role", "invoke", "-p", projectName, "--expires-in", "1d"];
    const made = (await json("keys", "create", "web shop", ...options)) as Record<string, string>;
    expect(made).toMatchObject({ displayName: "web shop", role: "invoke", projectName, revokedAt: null });
    const withKey = { MULTINODE_API_URL: target.apiUrl, MULTINODE_API_KEY: made["apiKey"] ?? "" };
    const started = await run(["start", "-p", projectName, "-f", "add", "1", "2", "--watch"], withKey);
    expect(started).toMatchObject({ exitStatus: 0 });
    const deployed = await run(["upgrade", await folder("two"), "-p", projectName], withKey);
    expect(deployed).toMatchObject({ exitStatus: 1, stderr: expect.stringContaining("has the role INVOKE") });
    expect(deployed.stderr).toContain("multinode keys create");

    const listed = await multinode("keys", "list");
    expect(listed.stdout).toMatch(new RegExp(`${made["keyId"]} +web shop +invoke +${projectName} .*until`));
    expect(listed.stdout).not.toContain(made["apiKey"]);
    expect((await multinode("keys", "revoke", made["keyId"] ?? "")).stdout).toContain("is revoked");
    const { apiKeys } = (await json("keys", "list")) as { apiKeys: { keyId: string; revokedAt: string | null }[] };
    expect(apiKeys.find(({ keyId }) => keyId === made["keyId"])?.revokedAt).not.toBeNull();
    expect((await multinode("keys", "create", "no role")).exitStatus).toBe(2);
    expect((await multinode("keys", "revoke", "inv-1")).exitStatus).toBe(2);
  });

  test("undeploy removes the project with all that is in flight", async () => {
    const fn = target.fn(projectName, "held");
    const id = await fn.start(gates.place());
    await untilStatus(fn, id, "RUNNING");
    expect(await json("undeploy", "--project-name", projectName)).toMatchObject({ projectName });
    const gone = await eventually(
      () => multinode("describe", "-p", projectName),
      ({ exitStatus }) => exitStatus === 1,
    );
    expect(gone.stderr).toContain(projectName);
  });
});

import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Outcome, Status } from "../../../../gen/multinode/invocation/v1/invocation.pb.js";
import { LogLine, LogStream } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { FunctionSpec, Version } from "../../../../gen/multinode/registry/v1/function.pb.js";
import { FunctionDoesNotExist, Unavailable } from "../errors.js";
import { encode } from "../values/codec.js";
import { describeError } from "./output/error.js";
import { API_KEY, FakeServices, testId } from "./testing/fake_services.js";
import { type RunOptions, runCommand } from "./testing/test_io.js";

let services: FakeServices;
let home: string;
beforeEach(async () => {
  services = await FakeServices.start();
  home = await mkdtemp(join(tmpdir(), "multinode-test-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await services[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

const INV = testId("inv");

function multinode(argv: readonly string[], options: RunOptions = {}) {
  const env = { MULTINODE_HOME: home, MULTINODE_API_URL: services.url, MULTINODE_API_KEY: API_KEY, TZ: "UTC" };
  return runCommand(argv, { ...options, env });
}

function addProject(name: string): void {
  const version = Version.fromPartial({
    versionId: testId("ver"),
    projectName: name,
    createTimeMs: 1_000,
    code: { source: { $case: "bundle", value: { digest: "d".repeat(64) } }, environment: { TOKEN: "" } },
    functions: [
      FunctionSpec.fromPartial({
        functionName: "resize",
        options: { memoryBytes: 1024 ** 3 },
        inputSchema: '{"type":"array"}',
      }),
    ],
  });
  services.projects.set(name, { versions: [version], deleting: false });
}

test("a server that cannot be reached is told with its reason and what to do", async () => {
  const list = async (apiUrl: string) => {
    const env = { MULTINODE_HOME: home, MULTINODE_API_URL: apiUrl, MULTINODE_API_KEY: API_KEY };
    const { exitStatus, stderr } = await runCommand(["list"], { env });
    expect(exitStatus).toBe(1);
    return stderr.trim().split("\n");
  };
  const [gone, plain] = await Promise.all([
    list("http://127.0.0.1:1"),
    list(services.url.replace("http://127.0.0.1", "https://localhost")),
  ]);
  expect(gone).toEqual([
    "error the Multinode server at http://127.0.0.1:1 cannot be reached: connect ECONNREFUSED 127.0.0.1:1",
    'next  Check that the server runs ("multinode up" starts one here) and that the address is right.',
  ]);
  expect(plain.at(-1)).toBe("next  It may speak plain text there: try http:// in the address.");
});

test("a key that an old server made without its role is revoked, and not shown", async () => {
  const { exitStatus, stdout, stderr } = await multinode(["keys", "create", "web", "--role", "read"]);
  expect({ exitStatus, stdout }).toEqual({ exitStatus: 1, stdout: "" });
  expect(stderr).toContain("too old");
  expect(stderr).not.toContain("mn_secret");
  expect(services.revokedKeys).toEqual([testId("key")]);
});

test.each([
  [["read", "--expires-in", "5s"], "It must be from 1m to 3650d."],
  [["read", "--expires-in", "3651d"], "It must be from 1m to 3650d."],
  [["read", "--expires-in", "soon"], "It must be a duration"],
  [["admin", "--project-name", "mine"], "a key with the role admin is for all projects"],
])("a key of which the server would refuse an option is refused by the option's name: %j", async (options, problem) => {
  const { exitStatus, stderr } = await multinode(["keys", "create", "web", "--role", ...options]);
  expect(exitStatus).toBe(2);
  expect(stderr).toContain(options[1]);
  expect(stderr).toContain(problem);
});

test.each([
  ["unable to verify the first certificate", "Set NODE_EXTRA_CA_CERTS to", undefined],
  ["unable to verify the first certificate", "Set GRPC_DEFAULT_SSL_ROOTS_FILE_PATH to", "/etc/ca.pem"],
  ["self-signed certificate in certificate chain", "Set NODE_EXTRA_CA_CERTS to", undefined],
  ["Hostname/IP does not match certificate's altnames: Host: x.test", "one of the certificate's names", undefined],
  ["C0:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required", "for services only", undefined],
  ["certificate has expired", "Renew", undefined],
  ["Protocol error", "https://", undefined],
])("%s is told with %s", (cause, hint, grpcRoots) => {
  vi.stubEnv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", grpcRoots);
  expect(describeError(new Unavailable(`it cannot be reached: ${cause}`)).hint).toContain(hint);
});

test("hints name the project and the function that are known", async () => {
  addProject("shop");
  const hintOf = async (...argv: string[]) => (await multinode(argv)).stderr.split("\n").at(-2);
  expect(await hintOf("describe", "-p", "shop", "-f", "nope")).toBe(
    'next  Run "multinode describe --project-name shop" for the versions and functions there are.',
  );
  expect(await hintOf("describe", "-p", "shop", "-f", "resize", "--invocation-id", INV)).toBe(
    'next  Run "multinode describe --project-name shop --function-name resize" for the newest invocations.',
  );
  const known = new FunctionDoesNotExist("there is none", { metadata: { projectName: "other" } });
  expect(describeError(known).hint).toContain("--project-name other");
});

test("login checks, writes a file that only its owner reads, and logout removes it", async () => {
  const env = { MULTINODE_HOME: home };
  const wrong = await runCommand(["login", "--api-url", services.url, "--api-key", "wrong"], { env });
  expect(wrong).toMatchObject({ exitStatus: 1, stderr: expect.stringContaining("the API key is not valid") });

  const answers = [services.url, API_KEY];
  expect(await runCommand(["login"], { env, answers })).toMatchObject({ exitStatus: 0, stderr: "" });
  const file = join(home, "credentials.json");
  expect(JSON.parse(await readFile(file, "utf8"))).toEqual({ apiUrl: services.url, apiKey: API_KEY });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await runCommand(["list"], { env })).toMatchObject({ exitStatus: 0 });

  expect((await runCommand(["logout"], { env })).stdout).toContain("Logged out");
  expect((await runCommand(["logout"], { env })).stdout).toContain("You were not logged in");
});

test("list", async () => {
  expect((await multinode(["list"])).stdout).toContain("No projects yet");
  addProject("shop");
  const { stdout } = await multinode(["list"]);
  expect(stdout).toMatch(/^PROJECT  LATEST VERSION +CREATED\nshop     ver-0+1  1970-01-01 00:00:01\n$/);
  expect(JSON.parse((await multinode(["list", "--json"])).stdout)).toEqual({
    projects: [
      { projectName: "shop", latestVersionId: testId("ver"), createdAt: "1970-01-01T00:00:01.000Z", deleting: false },
    ],
  });
});

test("describe a project, a version and a function", async () => {
  addProject("shop");
  services.addInvocation(INV, { status: Status.FAILED, error: "TypeError: no" });

  const project = (await multinode(["describe", "-p", "shop"])).stdout;
  expect(project).toMatch(/ver-0+1  1970-01-01 00:00:01  latest/);
  expect(project).toMatch(/resize +memory 1 GiB +input/);
  expect(JSON.parse((await multinode(["describe", "-p", "shop", "--json"])).stdout)).toMatchObject({
    versions: [{ latest: true }],
    functions: [{ functionName: "resize", inputSchema: { type: "array" } }],
  });

  const version = (await multinode(["describe", "-p", "shop", "--version-id", "LATEST"])).stdout;
  expect(version).toMatch(/\.env +TOKEN\n/);

  const called = (await multinode(["describe", "-p", "shop", "-f", "resize"])).stdout;
  expect(called).toMatch(/memory +1 GiB\n/);
  expect(called).toMatch(/timeout +1h \(default\)\n/);
  expect(called).toMatch(/inv-0+1  FAILED .*TypeError: no/);
});

test("describe an invocation", async () => {
  services.addInvocation(INV, {
    status: Status.SUCCEEDED,
    startTimeMs: 1_500,
    finishTimeMs: 3_500,
    terminated: true,
    numFailedAttempts: 1,
    error: "Error: \u001b[2Jonce",
    result: { ...encode({ big: 1n }), data: Buffer.from(encode({ big: 1n }).data) },
    executions: [
      {
        executionId: testId("exe", 1),
        attemptNumber: 1,
        outcome: Outcome.FAILED,
        error: "Error: \u001b[31monce",
        terminated: true,
        createTimeMs: 1,
        workerId: "",
      },
      {
        executionId: testId("exe", 2),
        attemptNumber: 2,
        outcome: Outcome.SUCCEEDED,
        error: "",
        terminated: true,
        createTimeMs: 1,
        startTimeMs: 1_500,
        finishTimeMs: 3_500,
        workerId: testId("wrk"),
      },
    ],
  });
  const { stdout } = await multinode(["describe", "-i", INV]);
  expect(stdout).toMatch(/started +1970-01-01 00:00:01 \(after 500ms\)/);
  expect(stdout).toMatch(/finished +1970-01-01 00:00:03 \(ran 2s\)/);
  expect(stdout).toContain("{ big: 1n }");
  expect(stdout).toMatch(/exe-0+1  1 +FAILED .*Error: \\x1B\[31monce/);
  expect(stdout).toContain("Error: \\x1B[2Jonce");
  expect(stdout).not.toContain("\u001b");
  expect(JSON.parse((await multinode(["describe", "-i", INV, "--json"])).stdout)).toMatchObject({
    id: INV,
    status: "SUCCEEDED",
    result: { big: "1" },
    executions: [{ outcome: "FAILED" }, { outcome: "SUCCEEDED" }],
  });
  expect(await multinode(["describe", "-i", testId("inv", 2)])).toMatchObject({
    exitStatus: 1,
    stderr: expect.stringContaining("there is no invocation inv-"),
  });
});

test("start sends JSON arguments and texts, and writes the id alone", async () => {
  const started = await multinode([
    "start",
    "-p",
    "shop",
    "-f",
    "resize",
    "--ttl",
    "10m",
    "--idempotency-key",
    "k",
    "--",
    "-1",
    '{"a":[1]}',
    "cat.png",
    '"2"',
  ]);
  expect(started).toEqual({ exitStatus: 0, stdout: `${INV}\n`, stderr: "" });
  const [request] = services.starts;
  expect(request).toMatchObject({ projectName: "shop", functionName: "resize", ttlMs: 600_000, idempotencyKey: "k" });
  expect(request?.arguments?.positional?.data.toString()).toBe('[-1,{"a":[1]},"cat.png","2"]');

  await multinode(["start", "-p", "shop", "-f", "resize", "--args", "[1,2]"]);
  expect(services.starts[1]?.arguments?.positional?.data.toString()).toBe("[1,2]");
  expect(JSON.parse((await multinode(["start", "-p", "shop", "-f", "resize", "--json"])).stdout)).toEqual({
    invocationId: INV,
  });
});

test("watch writes a line for each change, and its exit status tells the end", async () => {
  const result = { contentType: "application/json", data: Buffer.from('{"done":3}') };
  services.addInvocation(
    INV,
    { status: Status.RUNNING },
    { status: Status.SUCCEEDED, result, finishTimeMs: 2_000, terminated: true },
  );
  const watched = await multinode(["watch", "-i", INV]);
  expect(watched.exitStatus).toBe(0);
  expect(watched.stdout.trim().split("\n").at(-1)).toMatch(/^\d\d:\d\d:\d\d\.\d{3}  SUCCEEDED  result \{ done: 3 \}$/);

  const started = await multinode(["start", "-p", "shop", "-f", "resize", "--watch", "--json"]);
  expect(started.stderr).toBe("");
  const lines = started.stdout.trim().split("\n");
  expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ id: INV, status: "SUCCEEDED", result: { done: 3 } });

  const drawn = await multinode(["watch", "-i", INV], { isTerminal: true });
  expect(drawn.stdout).not.toBe(stripVTControlCharacters(drawn.stdout));
  expect(stripVTControlCharacters(drawn.stdout)).toMatch(/SUCCEEDED after 1s\n\{ done: 3 \}\n$/);

  services.addInvocation(INV, { status: Status.FAILED, error: "TypeError: no", finishTimeMs: 2_000, terminated: true });
  expect(await multinode(["watch", "-i", INV])).toMatchObject({
    exitStatus: 1,
    stderr: "",
    stdout: expect.stringContaining("FAILED  error TypeError: no"),
  });
});

test("Ctrl-C ends the watching and says that the invocation goes on", async () => {
  services.addInvocation(INV, { status: Status.RUNNING });
  const watched = await multinode(["watch", "-i", INV], { signal: AbortSignal.timeout(300) });
  expect(watched).toMatchObject({
    exitStatus: 130,
    stderr: `It goes on. To end it: multinode cancel --invocation-id ${INV}\n`,
  });
});

test("cancel", async () => {
  services.addInvocation(INV, { status: Status.RUNNING });
  expect((await multinode(["cancel", "-i", INV])).stdout).toContain(`${INV} is CANCELLING`);
  expect(services.cancelled).toEqual([INV]);
  services.addInvocation(INV, { status: Status.SUCCEEDED, terminated: true });
  expect(await multinode(["cancel", "-i", INV])).toMatchObject({
    exitStatus: 1,
    stderr: expect.stringContaining("has ended already"),
  });
});

function addLines(): void {
  const line = (executionId: string, lineNumber: number, text: string, stream: LogStream) =>
    LogLine.fromPartial({
      executionId,
      lineNumber,
      text,
      stream,
      timeMs: 42,
      level: stream === LogStream.LOGGER ? "warn" : "",
    });
  services.logLines.push(
    line(testId("exe", 1), 1, "one", LogStream.STDOUT),
    line(testId("exe", 1), 2, "two", LogStream.STDERR),
    line(testId("exe", 2), 1, "three", LogStream.LOGGER),
  );
}

test("logs, page by page, naming the execution once there are several", async () => {
  services.addInvocation(INV, { status: Status.RUNNING });
  addLines();
  expect((await multinode(["logs", "-p", "shop", "-f", "resize", "-i", INV])).stdout).toBe(
    ["00:00:00.042 out   one", "00:00:00.042 err   two", `00:00:00.042 ${testId("exe", 2)} warn  three`, ""].join("\n"),
  );
  const one = await multinode(["logs", "-i", INV, "-e", testId("exe", 2), "--json"]);
  expect(JSON.parse(one.stdout)).toEqual({
    executionId: testId("exe", 2),
    lineNumber: 1,
    time: "1970-01-01T00:00:00.042Z",
    stream: "LOGGER",
    level: "warn",
    text: "three",
  });
});

test("logs --follow goes on after a broken connection and writes each line once", async () => {
  services.addInvocation(INV, { status: Status.RUNNING });
  addLines();
  services.brokenLogStreams = 1;
  const { stdout, stderr, exitStatus } = await multinode(["logs", "-i", INV, "--follow"]);
  expect(exitStatus).toBe(0);
  expect(stdout.match(/one|two|three/g)).toEqual(["one", "two", "three"]);
  expect(stderr).toContain("The connection was lost");
});

test("undeploy waits until the project is gone", async () => {
  addProject("shop");
  services.addInvocation(INV, { status: Status.CANCELLING });
  const { stdout, exitStatus } = await multinode(["undeploy", "-p", "shop"]);
  expect(exitStatus).toBe(0);
  expect(stdout).toBe("shop: 1 invocation still ending\nshop is gone.\n");
  expect(await multinode(["undeploy", "-p", "shop"])).toMatchObject({ exitStatus: 1 });

  addProject("shop");
  expect((await multinode(["undeploy", "-p", "shop", "--no-wait"])).stdout).toBe("shop is being deleted.\n");
});

test("an unreachable server is told as such", async () => {
  await services[Symbol.asyncDispose]();
  const { exitStatus, stderr } = await multinode(["list"], { signal: AbortSignal.timeout(300) });
  expect({ exitStatus, stderr }).toEqual({ exitStatus: 130, stderr: "" });
});

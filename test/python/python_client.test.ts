/** A client in another language, generated from the contracts alone, against a real server. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectTarget, type DeployedProject, type Target } from "../harness/connected_target.js";
import { startEmbeddedTarget } from "../harness/embedded_target.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import type { RunningTarget } from "../harness/running_target.js";
import { type GeneratedClient, generateClient, missingForPython } from "./generated_client.js";

const MAIN = `
  import { getContext, Multinode } from "multinode";
  import { z } from "zod";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  export const add = mn.function((x: number, y: number) => x + y);
  export const greet = mn.function((greeting: string, { name }: { name: string }) => greeting + ", " + name);
  export const countTo = mn.function(async function* (bound: number, gate: string) {
    for (let i = 1; i <= bound; i += 1) yield i;
    await passGate(gate);
    return { counted: bound };
  });
  export const fail = mn.function(() => {
    throw new RangeError("no luck");
  });
  export const wait = mn.function({ gracePeriod: 1_000 }, async () => {
    const { signal } = getContext();
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
  export const typed = mn.function({ input: z.tuple([z.int()]) }, (value: number) => value);
`;

interface State {
  readonly status: string;
  readonly result: unknown;
  readonly error: string;
}

const gates = await Gates.open();
// CI has all of it; where something is missing, the name of the suite says what.
const missing = process.env["CI"] === undefined ? await missingForPython() : undefined;

describe.skipIf(missing !== undefined)(
  `a Python client${missing === undefined ? "" : ` (left out: ${missing})`}`,
  () => {
    let running: RunningTarget;
    let target: Target;
    let project: DeployedProject;
    let python: GeneratedClient;
    beforeAll(async () => {
      running = await startEmbeddedTarget();
      const { apiUrl, apiKey } = running;
      target = connectTarget({ apiUrl, apiKey });
      project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
      python = await generateClient({ MULTINODE_API_URL: apiUrl, MULTINODE_API_KEY: apiKey });
    });
    afterAll(async () => {
      gates.close();
      await python.remove();
      await target.close();
      await running.stop();
    });

    async function start(functionName: string, ...args: readonly string[]): Promise<string> {
      const { lines, stderr } = await python.client("start", project.projectName, functionName, ...args);
      expect(stderr).toBe("");
      return String(lines[0]);
    }

    /** The states that the client saw, without what differs from run to run. */
    async function watch(invocationId: string, heard: (state: State) => void = () => {}) {
      const { lines, stderr } = await python.listen((line) => heard(line as State), "watch", invocationId);
      expect(stderr).toBe("");
      return lines as State[];
    }

    /** What the client printed of a refusal. */
    async function refusal(...args: readonly string[]): Promise<unknown> {
      const { exitCode, stderr } = await python.client(...args);
      expect(exitCode).toBe(1);
      return JSON.parse(stderr);
    }

    it("starts with positional arguments, and watches to the result", async () => {
      const invocationId = await start("add", "[40, 2]");
      expect(invocationId).toMatch(/^inv-/);
      const states = await watch(invocationId);
      expect(states.at(-1)).toEqual({ invocationId, function: "add", status: "SUCCEEDED", result: 42, error: "" });
    });

    it("starts with named arguments", async () => {
      const states = await watch(await start("greet", '["Hello"]', "--named", '{"name": "wörld 🌍"}'));
      expect(states.at(-1)).toMatchObject({ status: "SUCCEEDED", result: "Hello, wörld 🌍" });
    });

    it("sees what a generator yields, and what it returns", async () => {
      const gate = gates.place();
      const states = await watch(await start("countTo", JSON.stringify([5, gate])), ({ result }) => {
        if (result === 5) gates.open(gate);
      });
      const yields = states.map(({ result }) => result).filter((result) => typeof result === "number");
      expect(yields).toContain(5);
      expect(yields).toEqual(yields.toSorted((a, b) => a - b));
      expect(states.at(-1)).toMatchObject({ status: "SUCCEEDED", result: { counted: 5 } });
    });

    it("sees the error of a function", async () => {
      const states = await watch(await start("fail"));
      expect(states.at(-1)).toMatchObject({ status: "FAILED", result: null, error: "RangeError: no luck" });
    });

    it("cancels", async () => {
      const invocationId = await start("wait");
      const { lines } = await python.client("cancel", invocationId);
      expect(lines).toMatchObject([{ invocationId, status: expect.stringMatching(/^CANCELL(ING|ED)$/) as string }]);
      expect((await watch(invocationId)).at(-1)).toMatchObject({ status: "CANCELLED" });
    });

    it("lists all pages, newest first", async () => {
      const other = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
      const started: string[] = [];
      for (let i = 0; i < 5; i += 1) started.unshift(await other.fn("add").start(i, i));
      const { lines } = await python.client("list", other.projectName);
      expect(lines.map((line) => (line as { invocationId: string }).invocationId)).toEqual(started);
    });

    it("reads what is wrong with a request", async () => {
      expect(await refusal("start", "no project", "")).toEqual({
        code: "INVALID_ARGUMENT",
        reason: "ParameterValidationError",
        message: expect.stringContaining('project_name: "no project" is not 1 to 64 letters') as string,
        metadata: {},
        fields: {
          project_name: '"no project" is not 1 to 64 letters, digits, "-" and "_", beginning with a letter',
          function_name: '"" is not 1 to 128 letters, digits, "-" and "_", beginning with a letter',
        },
      });
      expect(await refusal("start", project.projectName, "typed", '["ten"]')).toMatchObject({
        code: "INVALID_ARGUMENT",
        reason: "FunctionInputIsInvalid",
        fields: { "arguments[0]": '"ten" must be integer' },
      });
      const invocationId = `inv-${"0".repeat(26)}`;
      for (const command of ["watch", "cancel"]) {
        expect(await refusal(command, invocationId)).toEqual({
          code: "NOT_FOUND",
          reason: "InvocationDoesNotExist",
          message: `invocation "${invocationId}" does not exist`,
          metadata: { invocationId },
          fields: {},
        });
      }
    });

    it("is refused with a wrong key, also beside a good one", async () => {
      const { exitCode, lines, stderr } = await python.program(TWO_KEYS);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(lines).toEqual([
        ["wrong", "UNAUTHENTICATED"],
        ["wrong, good", "UNAUTHENTICATED"],
        ["good", "OK"],
      ]);
    });
  },
);

/** HTTP/2 in Node does not send a header like this one twice; gRPC's own library does. */
const TWO_KEYS = `
import json, os
from urllib.parse import urlsplit
import grpc
from multinode.registry.v1 import registry_service_pb2, registry_service_pb2_grpc

channel = grpc.insecure_channel(urlsplit(os.environ["MULTINODE_API_URL"]).netloc)
stub = registry_service_pb2_grpc.RegistryServiceStub(channel)
keys = {"good": os.environ["MULTINODE_API_KEY"], "wrong": "mn_wrong"}
for names in ("wrong",), ("wrong", "good"), ("good",):
    metadata = [("authorization", f"Bearer {keys[name]}") for name in names]
    try:
        stub.ListProjects(registry_service_pb2.ListProjectsRequest(), metadata=metadata, timeout=10)
        code = "OK"
    except grpc.RpcError as error:
        code = error.code().name
    print(json.dumps([", ".join(names), code]))
`;

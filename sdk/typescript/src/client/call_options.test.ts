import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { getDeployedFunction } from "../deployed.js";
import { ParameterValidationError } from "../errors.js";
import type { FunctionHandle } from "../function_handle.js";
import { FakeServer } from "../testing/fake_server.js";
import { MultinodeClient } from "./client.js";
import { openClient } from "./open_client.js";

let server: FakeServer;
let client: MultinodeClient;
/** As JavaScript sees it, which checks no types. */
let fn: { [Method in keyof FunctionHandle<never[], unknown>]: (...args: unknown[]) => unknown };

beforeEach(async () => {
  server = new FakeServer();
  await server.listen();
  client = new MultinodeClient({ apiUrl: server.url, apiKey: "key" });
  fn = getDeployedFunction({ projectName: "p", functionName: "f", client }) as never;
});

afterEach(async () => {
  await client.close();
  server.stop();
});

type Method = keyof FunctionHandle<never[], unknown>;

const ID = `inv-${"0".repeat(26)}`;
const INV_RULE = 'must be "inv-" and 26 characters';
const STATUS_RULE =
  'must be one of "PENDING", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT"';
const DATE_RULE = "must be a Date, with a time of 1970 or later";
const WINDOW_RULE = "must be at least 1 and at most 100000";
const LIST_RULE = "must be a list, or another iterable or async iterable";

async function call(method: Method, args: readonly unknown[]): Promise<unknown> {
  const answer = fn[method](...args);
  if (typeof answer !== "object" || answer === null || !(Symbol.asyncIterator in answer)) return answer;
  return (answer as AsyncGenerator).next();
}

describe("a bad option is refused before anything is sent, in the words of the method", () => {
  test.each<[Method, unknown[], string | RegExp]>([
    ["list", [{ status: "X" }], `status: "X" ${STATUS_RULE}`],
    ["list", [{ status: ["PENDING", "toString"] }], `status[1]: "toString" ${STATUS_RULE}`],
    ["list", [{ pageSize: 1.5 }], "pageSize: 1.5 must be a whole number at least 1 and at most 1000"],
    ["list", [{ pageSize: 5_000 }], "pageSize: 5000 must be at least 1 and at most 1000"],
    ["list", [{ pageSize: 0 }], "pageSize: 0 must be at least 1 and at most 1000"],
    ["list", [{ createdFrom: new Date("zz") }], `createdFrom: Invalid Date ${DATE_RULE}`],
    ["list", [{ createdBefore: "2026" }], `createdBefore: "2026" ${DATE_RULE}`],
    ["list", [{ createdFrom: new Date(-1) }], `createdFrom: 1969-12-31T23:59:59.999Z ${DATE_RULE}`],
    ["list", [{ parent: "" }], `parent: "" ${INV_RULE}`],
    ["list", [{ offset: 5 }], "offset: 5 must be a text"],
    [
      "list",
      [{ size: 5 }],
      "size: is no option; the options are offset, pageSize, status, parent, versionId, createdFrom, createdBefore, signal; perhaps pageSize is meant",
    ],
    ["list", [null], "options: null must be an object with options"],
    ["map", [[1], { order: "x" }], 'order: "x" must be one of "input", "completed"'],
    ["map", [[1], { errors: "x" }], 'errors: "x" must be one of "throw", "return"'],
    ["map", [[1], { window: 0 }], `window: 0 ${WINDOW_RULE}`],
    ["map", [[1], { cancelRest: "yes" }], 'cancelRest: "yes" must be true or false'],
    [
      "map",
      [[1], { concurrency: 5 }],
      "concurrency: is no option; the options are window, order, errors, cancelRest, signal",
    ],
    [
      "map",
      [[1], { signal: new AbortController() }],
      /^map: signal: AbortController .* must be an AbortSignal$/ as never,
    ],
    ["map", [[1], null], "options: null must be an object with options"],
    ["map", ["abc"], `inputs: "abc" ${LIST_RULE}`],
    ["map", [5], `inputs: 5 ${LIST_RULE}`],
    ["map", [], `inputs: undefined ${LIST_RULE}`],
    ["starmap", [{}], `inputs: {} ${LIST_RULE}`],
    ["watch", [ID, { until: "x" }], 'until: "x" must be one of "finished", "terminated"'],
    ["watch", [undefined], "invocationId: undefined must be a text"],
    ["awaitResult", [ID, { cancelOnAbort: 1 }], "cancelOnAbort: 1 must be true or false"],
    [
      "awaitResult",
      [ID, { cancelOnabort: true }],
      "cancelOnabort: is no option; the options are cancelOnAbort, signal; perhaps cancelOnAbort is meant",
    ],
    ["get", [undefined], "invocationId: undefined must be a text"],
    ["get", [ID, 1], "options: 1 must be an object with options"],
    ["cancel", [ID, { signal: {} }], "signal: {} must be an AbortSignal"],
    ["withOptions", [undefined], "options: undefined must be an object with options"],
    [
      "withOptions",
      [{ idempotencykey: "k" }],
      "idempotencykey: is no option; the options are idempotencyKey, ttl, signal, cancelOnAbort; perhaps idempotencyKey is meant",
    ],
    ["withOptions", [{ idempotencyKey: "" }], 'idempotencyKey: "" must be a text of 1 to 128 characters'],
    ["withOptions", [{ idempotencyKey: 5 }], "idempotencyKey: 5 must be a text of 1 to 128 characters"],
    ["withOptions", [{ ttl: "400d" }], 'ttl: "400d" must be at least 1ms and at most 365d'],
    ["withOptions", [{ ttl: "soon" }], 'ttl: "soon" must be a duration such as'],
  ])("%s(...%j)", async (method, args, told) => {
    const refusal: unknown = await call(method, args).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ParameterValidationError);
    const { message, violations } = refusal as ParameterValidationError;
    if (typeof told === "string") expect(message).toContain(`${method}: ${told}`);
    else expect(message).toMatch(told);
    expect(message).toBe(`${method}: ${violations[0]?.field}: ${violations[0]?.description}`);
    expect([server.batches, server.streamsOpened, server.credentials.size]).toStrictEqual([[], 0, 0]);
  });

  test("all that are bad at once", async () => {
    await expect(call("list", [{ pageSize: 0, status: "X", from: 1 }])).rejects.toMatchObject({
      violations: [{ field: "from" }, { field: "pageSize" }, { field: "status" }],
    });
  });

  test("an input of starmap that is no list of arguments, at its place", async () => {
    await expect(call("starmap", [[1, 2]])).rejects.toMatchObject({
      message: "input 0: starmap: inputs[0]: 1 must be a list of arguments; map takes single ones",
      inputIndex: 0,
    });
    expect(server.batches).toStrictEqual([]);
  });

  test("those of getDeployedFunction and openClient too", () => {
    const bad = { projectName: "p", functionName: "f", version: "ver-1" } as never;
    expect(() => getDeployedFunction(bad)).toThrow(
      "getDeployedFunction: version: is no option; the options are projectName, functionName, versionId, apiUrl, apiKey, client; perhaps versionId is meant",
    );
    expect(() => getDeployedFunction(undefined as never)).toThrow(/^getDeployedFunction: options: undefined must be/);
    expect(() => openClient({ url: "http://a" } as never)).toThrow(/^openClient: url: is no option.*perhaps apiUrl/);
    expect(() => openClient({ retryForMs: Number.NaN })).toThrow(/^openClient: retryForMs: NaN must be a number/);
  });
});

test("good ones are taken", async () => {
  server.autoFinish = ([n]) => ({ status: 4, terminated: true, result: n });
  const { signal } = new AbortController();
  const options = { window: 2, order: "completed", errors: "return", cancelRest: true, signal };
  await expect(call("map", [new Set([1]), options])).resolves.toMatchObject({ value: 1 });
  const page = { offset: "", pageSize: 1_000, status: ["FAILED"], parent: ID, createdFrom: new Date(0), signal };
  await expect(call("list", [page])).resolves.toMatchObject({ offset: undefined });
  await expect(call("list", [{ status: undefined, pageSize: undefined }])).resolves.toBeDefined();
});

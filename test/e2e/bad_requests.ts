/** What the tests of bad requests share: a target, calls with any fields and any bytes, and values that are always bad. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { InvocationServiceDefinition } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LogServiceDefinition } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import { ApiKeyServiceDefinition } from "../../gen/multinode/registry/v1/api_key_service.pb.js";
import { RegistryServiceDefinition } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { SchedulerServiceDefinition } from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import { WorkerServiceDefinition } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { FUNCTION_NAME_RULE, PROJECT_NAME_RULE } from "../../sdk/typescript/src/protocol/names.js";
import {
  badFields,
  bearer,
  connectRaw,
  encodePartial,
  type Headers,
  type Outcome,
  pathOf,
  type RawMethod,
  type RawService,
  summary,
} from "../harness/raw_call.js";
import { openTarget } from "../harness/target.js";

/** The services that an API key opens. */
export const KEY_SERVICES: readonly RawService[] = [
  RegistryServiceDefinition,
  ApiKeyServiceDefinition,
  InvocationServiceDefinition,
  LogServiceDefinition,
  SchedulerServiceDefinition,
];

export const UNKNOWN = "0".repeat(26);
const LONG = "a".repeat(10_000);
const LONG_SHOWN = `"${"a".repeat(100)}"… (10000 characters)`;

/** Bad names of projects and functions, and how a description shows them. */
const BAD_NAMES: readonly (readonly [name: string, shown: string])[] = [
  ["", '""'],
  ["1a", '"1a"'],
  ["a b", '"a b"'],
  ["../x", '"../x"'],
  ["a%2e", '"a%2e"'],
  ["a\n", '"a\\n"'],
  ["a\0b", '"a\\u0000b"'],
  ["😀", '"😀"'],
  ["' OR 1=1--", '"\' OR 1=1--"'],
  [LONG, LONG_SHOWN],
];

/** Bad identifiers of any kind. */
const BAD_IDS: readonly (readonly [id: string, shown: string])[] = [
  ["../x", '"../x"'],
  ["inv", '"inv"'],
  [`prj-${UNKNOWN}`, `"prj-${UNKNOWN}"`],
  [`inv-${UNKNOWN}0`, `"inv-${UNKNOWN}0"`],
  [`ver-${UNKNOWN.slice(1)}A`, `"ver-${UNKNOWN.slice(1)}A"`],
  [`exe-${UNKNOWN.slice(1)}\0`, `"exe-${UNKNOWN.slice(1)}\\u0000"`],
  [LONG, LONG_SHOWN],
];

/** A name for the case, the request's fields, and the summary of what comes of it. */
export type Row = readonly [name: string, request: object, expected: string];

/** Rows for a field that must hold the name of a project or of a function. `request` is good but for that field. */
export function badNames(field: "projectName" | "functionName", request: object = {}, mayBeEmpty = false): Row[] {
  const rule = field === "projectName" ? PROJECT_NAME_RULE : FUNCTION_NAME_RULE;
  const tooLong = "a".repeat(field === "projectName" ? 65 : 129);
  const shownTooLong = tooLong.length > 100 ? `"${"a".repeat(100)}"… (129 characters)` : `"${tooLong}"`;
  const names = [...BAD_NAMES, [tooLong, shownTooLong] as const].filter(([name]) => name !== "" || !mayBeEmpty);
  return names.map(([name, shown]) => [
    `${field} ${shown.slice(0, 30)}`,
    { ...request, [field]: name },
    badFields(`${snakeCase(field)}: ${shown} is not ${rule}`),
  ]);
}

/** Rows for a field that must hold an identifier. */
export function badIds(field: string, prefix: string, request: object = {}): Row[] {
  return BAD_IDS.map(([id, shown]) => [
    `${field} ${shown.slice(0, 30)}`,
    { ...request, [field]: id },
    badFields(`${snakeCase(field)}: ${shown} is not an identifier: "${prefix}-" and 26 characters`),
  ]);
}

/** Rows for the field `versionId`. */
export function badVersionIds(request: object): Row[] {
  return BAD_IDS.map(([id, shown]) => [
    `versionId ${shown.slice(0, 30)}`,
    { ...request, versionId: id },
    badFields(`version_id: ${shown} is neither "latest" nor "ver-" and 26 characters`),
  ]);
}

/** Rows for `pageSize` and `offset` of a listing. */
export function badPages(request: object = {}): Row[] {
  const invalid = "INVALID_ARGUMENT OffsetIsInvalid";
  return [
    ["page_size -1", { ...request, pageSize: -1 }, badFields("page_size: -1 is below 0")],
    ["page_size -2^31", { ...request, pageSize: -(2 ** 31) }, badFields("page_size: -2147483648 is below 0")],
    ["the largest page_size", { ...request, pageSize: 2 ** 31 - 1 }, "OK"],
    ["offset from nowhere", { ...request, offset: "x" }, invalid],
    ["offset with a forged signature", { ...request, offset: `${"A".repeat(16)}.YQ` }, invalid],
    ["offset of three parts", { ...request, offset: "a.b.c" }, invalid],
    ["offset in other letters", { ...request, offset: "é.😀" }, invalid],
  ];
}

/** A target with raw calls, for one test file. */
export class BadRequestScene {
  readonly target = openTarget();
  readonly #raw = connectRaw(this.target.apiUrl);
  readonly #rawOfWorkers = connectRaw(this.target.workerUrl);

  /** Sends messages with these fields. `requests` is one message, or those of a stream. */
  async send(service: RawService, method: RawMethod, requests: object | object[], headers?: Headers): Promise<Outcome> {
    const messages = [requests].flat().map((request) => encodePartial(method, request));
    const raw = service === WorkerServiceDefinition ? this.#rawOfWorkers : this.#raw;
    return await raw.send(pathOf(service, method), messages, headers ?? this.asKey);
  }

  async sendBytes(path: string, messages: readonly Uint8Array[], headers?: Headers): Promise<Outcome> {
    return await this.#raw.send(path, messages, headers ?? this.asKey);
  }

  get asKey(): Headers {
    return bearer(this.target.apiKey);
  }

  /** The summary of a good call. */
  async goodCall(): Promise<string> {
    const { methods } = RegistryServiceDefinition;
    return summary(await this.send(RegistryServiceDefinition, methods.listProjects, { pageSize: 1 }));
  }

  async close(): Promise<void> {
    this.#raw.close();
    this.#rawOfWorkers.close();
    await this.target.close();
  }
}

/** Opens a scene before the tests of this file, and checks after them that the server lives. */
export function openScene(prepare?: (scene: BadRequestScene) => Promise<void>): BadRequestScene {
  const scene = new BadRequestScene();
  beforeAll(async () => prepare?.(scene));
  afterAll(async () => {
    try {
      expect(await scene.goodCall()).toBe("OK");
    } finally {
      await scene.close();
    }
  });
  return scene;
}

/** A test of all rows, and that the server lives after them. `rows` is called once `prepare` is done. */
export function table(
  scene: BadRequestScene,
  service: RawService,
  method: RawMethod,
  rows: () => readonly Row[],
  what = "what is bad",
): void {
  it(`${method.name} refuses ${what}, each with its reason`, async () => {
    const expected: Record<string, string> = {};
    const actual: Record<string, string> = {};
    for (const [name, request, summaryOfRow] of rows()) {
      expected[name] = summaryOfRow;
      actual[name] = summary(await scene.send(service, method, request));
    }
    expect(actual).toEqual(expected);
    expect(await scene.goodCall()).toBe("OK");
  });
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Bytes that are no message, messages that are too large, and what they do to the server: nothing. */
import { readFile } from "node:fs/promises";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { afterAll, beforeAll, expect, it } from "vitest";
import { InvocationServiceDefinition } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { RegistryServiceDefinition } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { startEmbeddedTarget } from "../harness/embedded_target.js";
import { badFields, bearer, connectRaw, pathOf, type RawConnection, summary } from "../harness/raw_call.js";
import type { RunningTarget } from "../harness/running_target.js";
import { startServicesTarget } from "../harness/services_target.js";
import { KEY_SERVICES, openScene } from "./bad_requests.js";

const MIB = 1024 ** 2;
const REGISTRY = RegistryServiceDefinition;
const LIST_PROJECTS = pathOf(REGISTRY, REGISTRY.methods.listProjects);
const CREATE_PROJECT = pathOf(REGISTRY, REGISTRY.methods.createProject);
const PATHS = KEY_SERVICES.flatMap((service) =>
  Object.values(service.methods).map((method) => pathOf(service, method)),
);

/** Field 1000, which no message has, as the beginning of a group. */
const GROUP = [0xc3, 0x3e];

/** What no message can begin with, and why it is refused. */
const MALFORMED: Readonly<Record<string, readonly [bytes: Uint8Array, problem: string]>> = {
  "a varint that is cut": [Uint8Array.of(0x80), "premature EOF"],
  "a varint of 11 bytes": [new Uint8Array(11).fill(0xff), "invalid varint"],
  "a text that is cut": [Uint8Array.of(0xc2, 0x3e, 0x05, 0x61), "premature EOF"],
  "a text of 4 GiB": [Uint8Array.of(0xc2, 0x3e, 0xff, 0xff, 0xff, 0xff, 0x0f), "premature EOF"],
  "wire type 6": [Uint8Array.of(0xc6, 0x3e), "cant skip wire type 6"],
  "wire type 7": [Uint8Array.of(0xc7, 0x3e), "cant skip wire type 7"],
  "a group that does not end": [Uint8Array.from(GROUP), "premature EOF"],
  "20,000 groups in each other": [
    Uint8Array.from(Array.from({ length: 20_000 }, () => GROUP).flat()),
    "maximum recursion depth reached",
  ],
};

const scene = openScene();

it("refuses bytes that are no message, for every method", async () => {
  for (const [name, [bytes, problem]] of Object.entries(MALFORMED)) {
    const expected = badFields(`request: is not a well-formed message: ${problem}`);
    const surprises: Record<string, string> = {};
    for (const path of PATHS) {
      const got = summary(await scene.sendBytes(path, [bytes]));
      if (got !== expected) surprises[path] = got;
    }
    expect({ [name]: surprises }).toEqual({ [name]: {} });
  }
  expect(await scene.goodCall()).toBe("OK");
});

it("asks who calls before it looks at the message", async () => {
  expect(summary(await scene.sendBytes(CREATE_PROJECT, [Uint8Array.of(0x80)], []))).toBe(
    "UNAUTHENTICATED ApiKeyIsInvalid",
  );
});

it("refuses text that is not UTF-8", async () => {
  const { createProject } = REGISTRY.methods;
  const expected = badFields(
    "request: is not a well-formed message: The encoded data was not valid for encoding utf-8",
  );
  for (const bytes of [
    [0xff],
    [0xc0, 0x80], // NUL in two bytes
    [0xed, 0xa0, 0x80], // half of a surrogate pair
    [0xf0, 0x9f, 0x98], // half of an emoji
    [0x61, 0xf5, 0x80, 0x80, 0x80],
  ]) {
    const message = new BinaryWriter().uint32(10).bytes(Uint8Array.from(bytes)).finish();
    expect(summary(await scene.sendBytes(pathOf(REGISTRY, createProject), [message]))).toBe(expected);
  }
});

it("takes a field of another type, and an unknown one, for one that is not there", async () => {
  const varint = new BinaryWriter().uint32(8).uint32(1).finish();
  expect(summary(await scene.sendBytes(CREATE_PROJECT, [varint]))).toBe(
    badFields('project_name: "" is not 1 to 64 letters, digits, "-" and "_", beginning with a letter'),
  );
  const unknown = new BinaryWriter().uint32(8002).string("from the future").finish();
  expect(summary(await scene.sendBytes(LIST_PROJECTS, [unknown]))).toBe("OK");
});

it("refuses no message and two messages where there must be one", async () => {
  for (const messages of [[], [new Uint8Array(), new Uint8Array()]]) {
    const { code } = await scene.sendBytes(LIST_PROJECTS, messages);
    expect(code).toBe("UNIMPLEMENTED");
  }
  expect(await scene.goodCall()).toBe("OK");
});

it("refuses metadata above the limit", async () => {
  const withMetadata = async (bytes: number) =>
    summary(await scene.sendBytes(LIST_PROJECTS, [new Uint8Array()], [...scene.asKey, ["x-large", "m".repeat(bytes)]]));
  expect(await withMetadata(16_000)).toBe("OK");
  const { metadataBytes } = LIMITS;
  expect(await withMetadata(metadataBytes)).toBe(`RESOURCE_EXHAUSTED ResourceExhausted limit=${metadataBytes}`);
  // HTTP/2 itself breaks off a stream with more than about 100 kB, in Node with one code, in nginx with another.
  expect(await withMetadata(MIB)).toBeOneOf(["INTERNAL", "RESOURCE_EXHAUSTED"]);
  expect(await scene.goodCall()).toBe("OK");
});

/** An installation of its own, whose processes' memory is looked at: of processes of this machine, whatever the shared one is. */
let own: RunningTarget;
let plain: RawConnection;
let gzip: RawConnection;
beforeAll(async () => {
  own = await (scene.target.kind === "services" ? startServicesTarget() : startEmbeddedTarget());
  plain = connectRaw(own.apiUrl);
  gzip = connectRaw(own.apiUrl, { gzip: true });
});
afterAll(async () => {
  plain.close();
  gzip.close();
  await own.stop();
});

async function memoryMiB(): Promise<number> {
  let kilobytes = 0;
  for (const { pid } of Object.values(own.servers)) {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    kilobytes += Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  }
  return kilobytes / 1024;
}

it("refuses large and packed messages without growing", async () => {
  const headers = bearer(own.apiKey);
  const alive = async () => summary(await plain.send(LIST_PROJECTS, [new Uint8Array()], headers));
  expect(await alive()).toBe("OK");
  const before = await memoryMiB();
  const { startInvocation, watchInvocations } = InvocationServiceDefinition.methods;
  const paths = [startInvocation, watchInvocations].map((method) => pathOf(InvocationServiceDefinition, method));
  const large = new Uint8Array(10 * MIB);
  const bomb = new Uint8Array(64 * MIB);
  const tooLarge = `RESOURCE_EXHAUSTED ResourceExhausted limit=${LIMITS.messageBytes}`;
  const malformed = new BinaryWriter()
    .uint32(8002)
    .bytes(new Uint8Array(7 * MIB))
    .finish()
    .subarray(0, -1);
  for (let round = 0; round < 2; round += 1) {
    for (const path of [CREATE_PROJECT, ...paths]) {
      expect(summary(await plain.send(path, [large], headers))).toBe(tooLarge);
      expect((await plain.send(path, [malformed], headers)).reason).toBe("ParameterValidationError");
    }
    expect(summary(await gzip.send(CREATE_PROJECT, [bomb], headers))).toBe(tooLarge);
  }
  expect(await alive()).toBe("OK");
  expect(await memoryMiB()).toBeLessThan(before + 250);
});

import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { HealthDefinition } from "nice-grpc-server-health";
import { describe, expect, it } from "vitest";
import { RegistryServiceDefinition } from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { Refusal } from "../errors.js";
import { readStrictly, untilAborted, wellFormed } from "./messages.js";

const { requestType } = readStrictly(RegistryServiceDefinition).methods.createProject;
const GOOD = new BinaryWriter().uint32(10).string("née 🌍").finish();
const CUT = Uint8Array.of(0x80);

function descriptionOf(error: unknown): string | undefined {
  return error instanceof Refusal ? error.details.violations?.[0]?.description : undefined;
}

describe("a message", () => {
  it("that is well-formed is what it was", () => {
    expect(wellFormed(requestType.decode(GOOD), false)).toEqual({ projectName: "née 🌍" });
  });

  it.each([
    ["cut", CUT, "premature EOF"],
    ["not UTF-8", Uint8Array.of(0x0a, 0x01, 0xff), "The encoded data was not valid for encoding utf-8"],
  ])("that is %s decodes, and is refused when it is used", (_, bytes, problem) => {
    const message = requestType.decode(bytes);
    let error: unknown;
    try {
      wellFormed(message, false);
    } catch (thrown) {
      error = thrown;
    }
    expect(descriptionOf(error)).toBe(`is not a well-formed message: ${problem}`);
  });

  it("of a stream is refused in its turn", async () => {
    const stream = (async function* () {
      yield requestType.decode(GOOD);
      yield requestType.decode(CUT);
    })();
    const seen: unknown[] = [];
    const read = async () => {
      for await (const message of wellFormed(stream, true) as AsyncIterable<unknown>) seen.push(message);
    };
    await expect(read()).rejects.toThrow("is not a well-formed message: premature EOF");
    expect(seen).toEqual([{ projectName: "née 🌍" }]);
  });
});

describe("a stream of messages", () => {
  it("ends with its signal, for a reader that waits and for one that comes later", async () => {
    const abort = new AbortController();
    const never = new Promise<never>(() => {});
    const source = (async function* () {
      yield 1;
      yield await never;
    })();
    const messages = untilAborted(source, abort.signal);
    const seen: number[] = [];
    const read = async () => {
      for await (const message of messages) {
        seen.push(message);
        setImmediate(() => abort.abort());
      }
    };
    await read();
    expect(seen).toEqual([1]);
    await read();
    expect(seen).toEqual([1]);
  });

  it("tells its source when its reader goes, and its reader when its source fails", async () => {
    let isClosed = false;
    const source = async function* () {
      try {
        yield 1;
        throw new Error("cut");
      } finally {
        isClosed = true;
      }
    };
    for await (const message of untilAborted(source(), new AbortController().signal)) if (message === 1) break;
    expect(isClosed).toBe(true);
    const read = async () => {
      for await (const _ of untilAborted(source(), new AbortController().signal));
    };
    await expect(read()).rejects.toThrow("cut");
  });
});

it("leaves the services of other packages alone", () => {
  expect(readStrictly(HealthDefinition)).toBe(HealthDefinition);
});

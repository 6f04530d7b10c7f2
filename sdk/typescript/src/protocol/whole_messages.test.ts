import { describe, expect, it } from "vitest";
import {
  InvocationServiceDefinition,
  WatchInvocationsRequest,
} from "../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { RegistryServiceDefinition } from "../../../../gen/multinode/registry/v1/registry_service.pb.js";
import { sentWhole } from "./whole_messages.js";

const { watchInvocations, getInvocation } = sentWhole(InvocationServiceDefinition).methods;
const target = (invocationId: string) => ({ invocationId, afterRevision: 3, detail: 1, until: 1 }) as const;
const request = (...ids: string[]): WatchInvocationsRequest => ({ add: ids.map(target), remove: ["inv-x"] });

describe("messages of hot ways", () => {
  it("are written as the generated code writes them, each by itself", () => {
    for (const message of [
      request("inv-1"),
      request(...Array.from({ length: 9_000 }, (_, i) => `inv-${i}`)),
      request(),
    ]) {
      const bytes = watchInvocations.requestType.encode(message).finish();
      expect(Buffer.compare(bytes, WatchInvocationsRequest.encode(message).finish())).toBe(0);
      expect(watchInvocations.requestType.decode(bytes)).toEqual(message);
    }
  });

  it("leave nothing behind when one cannot be written", () => {
    const wrong = { add: [target("inv-1"), { ...target("inv-2"), afterRevision: 0.5 }], remove: [] };
    expect(() => watchInvocations.requestType.encode(wrong).finish()).toThrow(/0\.5/);
    const bytes = watchInvocations.requestType.encode(request("inv-1")).finish();
    expect(WatchInvocationsRequest.decode(bytes)).toEqual(request("inv-1"));
  });

  it("are not copied to fill in what is missing, as all others are", () => {
    expect(watchInvocations.requestType).not.toHaveProperty("fromPartial");
    expect(getInvocation).toBe(InvocationServiceDefinition.methods.getInvocation);
    expect(sentWhole(RegistryServiceDefinition)).toBe(RegistryServiceDefinition);
  });
});

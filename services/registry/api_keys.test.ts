import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ApiKeyRole } from "../../gen/multinode/registry/v1/api_key_role.pb.js";
import { RegistryServiceDefinition } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { remoteKeyAuthority } from "../platform/rpc/remote_authority.js";
import { formatApiKey, parseApiKey } from "./domain/api_key.js";
import { createRegistry } from "./service.js";
import { openTestParts, openTestRegistry, type TestRegistry } from "./test_registry.js";

let test: TestRegistry;
beforeAll(async () => {
  test = await openTestRegistry();
});
afterAll(() => test.close());

function keyIdOf(key: string): string {
  return parseApiKey(key)?.keyId ?? "";
}

async function callWith(key: string): Promise<string> {
  const connection = test.asKey(key);
  try {
    await connection.client(RegistryServiceDefinition).listProjects({});
    return "OK";
  } catch (error) {
    return String(Reflect.get(error as object, "reason"));
  } finally {
    connection.close();
  }
}

describe("API keys", () => {
  it("open every service of the user, and none of the services'", async () => {
    const { apiKey, secret } = await test.apiKeys.createApiKey({ displayName: "laptop of Zoë" });
    expect(apiKey).toMatchObject({ keyId: keyIdOf(secret), displayName: "laptop of Zoë" });
    expect(await callWith(secret)).toBe("OK");
    const known = { keyId: apiKey?.keyId, role: ApiKeyRole.ADMIN, projectName: "" };
    expect(await test.service.authority(secret)).toEqual({ kind: "key", ...known });
    expect(await test.catalog.verifyApiKey({ apiKey: secret })).toEqual(known);
    expect(await callWith("token-of-the-services")).toBe("PermissionDenied");
  });

  it("are refused alike, whatever is wrong", async () => {
    const { keyId, secret } = parseApiKey(test.firstKey) ?? { keyId: "", secret: "" };
    const wrong = [
      formatApiKey({ keyId, secret: `${secret.slice(1)}A` }),
      formatApiKey({ keyId: `key-${"0".repeat(26)}`, secret }),
      test.firstKey.slice(0, -1),
      "mn_",
      "x",
    ];
    for (const key of wrong) {
      expect(await test.service.authority(key)).toBeUndefined();
      expect(await callWith(key)).toBe("ApiKeyIsInvalid");
      await expect(test.catalog.verifyApiKey({ apiKey: key })).rejects.toMatchObject({ reason: "ApiKeyIsInvalid" });
    }
  });

  it("are listed newest first, without their secrets", async () => {
    for (const displayName of ["one", "two"]) await test.apiKeys.createApiKey({ displayName });
    const first = await test.apiKeys.listApiKeys({ pageSize: 1 });
    const second = await test.apiKeys.listApiKeys({ pageSize: 1, offset: first.nextOffset });
    expect([...first.apiKeys, ...second.apiKeys].map((key) => key.displayName)).toEqual(["two", "one"]);
    const all = await test.apiKeys.listApiKeys({});
    expect(all.apiKeys.at(-1)?.keyId).toBe(keyIdOf(test.firstKey));
    expect(all.nextOffset).toBe("");
  });

  it("are bad once they are revoked, in another process within 5 seconds", async () => {
    const other = createRegistry(test);
    const { apiKey, secret } = await test.apiKeys.createApiKey({ displayName: "lost" });
    const keyId = apiKey?.keyId ?? "";
    expect(await other.authority(secret)).toBeDefined();
    const revoked = await test.apiKeys.revokeApiKey({ keyId });
    expect(revoked.apiKey).toEqual({ ...apiKey, revokeTimeMs: test.clock.now() });
    expect(await callWith(secret)).toBe("ApiKeyIsInvalid");
    await expect(test.catalog.verifyApiKey({ apiKey: secret })).rejects.toMatchObject({ reason: "ApiKeyIsInvalid" });
    test.clock.advance(5_000);
    expect(await other.authority(secret)).toBeUndefined();
    expect(await test.apiKeys.revokeApiKey({ keyId })).toEqual(revoked);
  });

  it("have a role and a project for whoever asks who shows them", async () => {
    const said = { role: ApiKeyRole.INVOKE, projectName: "shop" };
    const { apiKey, secret } = await test.apiKeys.createApiKey({ displayName: "web", ...said });
    expect(apiKey).toMatchObject(said);
    const authority = remoteKeyAuthority(test.catalog);
    for (const principal of [await test.service.authority(secret), await authority(secret)]) {
      expect(principal).toEqual({ kind: "key", keyId: apiKey?.keyId, ...said });
    }
  });

  it("are bad once their time is over", async () => {
    const { apiKey, secret } = await test.apiKeys.createApiKey({ displayName: "for a minute", lifetimeMs: 60_000 });
    expect(apiKey?.expireTimeMs).toBe(test.clock.now() + 60_000);
    test.clock.advance(59_999);
    expect(await callWith(secret)).toBe("OK");
    test.clock.advance(1);
    expect(await callWith(secret)).toBe("ApiKeyIsInvalid");
    await expect(test.catalog.verifyApiKey({ apiKey: secret })).rejects.toMatchObject({ reason: "ApiKeyIsInvalid" });
  });

  it("cannot all be revoked", async () => {
    const others = [{ role: ApiKeyRole.DEPLOY }, { lifetimeMs: 60_000 }];
    for (const other of others) await test.apiKeys.createApiKey({ displayName: "does not count", ...other });
    const { apiKeys } = await test.apiKeys.listApiKeys({});
    const first = keyIdOf(test.firstKey);
    const counting = apiKeys.filter(
      ({ role, expireTimeMs }) => role === ApiKeyRole.ADMIN && expireTimeMs === undefined,
    );
    for (const { keyId } of counting.filter((key) => key.keyId !== first)) await test.apiKeys.revokeApiKey({ keyId });
    await expect(test.apiKeys.revokeApiKey({ keyId: first })).rejects.toMatchObject({ reason: "PermissionDenied" });
    for (const { keyId } of apiKeys.filter((key) => key.keyId !== first)) await test.apiKeys.revokeApiKey({ keyId });
    await expect(test.apiKeys.revokeApiKey({ keyId: first })).rejects.toMatchObject({ reason: "PermissionDenied" });
    expect(await callWith(test.firstKey)).toBe("OK");
  });

  it("are refused with bad fields", async () => {
    for (const displayName of ["", " ", "a\nb", "a\0", "\u202e", "x".repeat(129)]) {
      await expect(test.apiKeys.createApiKey({ displayName })).rejects.toMatchObject({
        reason: "ParameterValidationError",
        message: expect.stringMatching(/^display_name: /),
      });
    }
    for (const keyId of ["", "x", `ver-${"0".repeat(26)}`]) {
      await expect(test.apiKeys.revokeApiKey({ keyId })).rejects.toMatchObject({ reason: "ParameterValidationError" });
    }
    const absent = { keyId: `key-${"0".repeat(26)}` };
    await expect(test.apiKeys.revokeApiKey(absent)).rejects.toMatchObject({ reason: "ApiKeyDoesNotExist" });
  });

  it("are made by the server only once", async () => {
    expect(await callWith(test.firstKey)).toBe("OK");
    const keep = vi.fn();
    expect(await test.service.ensureFirstKey(keep)).toBe(false);
    expect(keep).not.toHaveBeenCalled();
  });

  it("are not made by the server where the first one could not be kept", async () => {
    const parts = await openTestParts();
    try {
      const service = createRegistry(parts);
      const fullDisk = () => {
        throw new Error("ENOSPC");
      };
      await expect(service.ensureFirstKey(fullDisk)).rejects.toThrow("ENOSPC");
      const keep = vi.fn();
      expect(await service.ensureFirstKey(keep)).toBe(true);
      expect(await service.authority(keep.mock.calls[0]?.[0])).toMatchObject({ kind: "key" });
    } finally {
      await parts.close();
    }
  });
});

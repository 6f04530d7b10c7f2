import { describe, expect, it } from "vitest";
import { readSettings } from "../config.js";
import { natsUrlSetting, refuseUnprotectedNats, serverOf } from "./nats_address.js";

const read = (url: string) =>
  readSettings({ MULTINODE_NATS_URL: natsUrlSetting }, { MULTINODE_NATS_URL: url }).MULTINODE_NATS_URL;

describe("the setting of NATS", () => {
  it("names servers, and who connects", () => {
    const [first, second, third] = read(
      "nats://registry:p%40ss@nats-1:4223, tls://registry:b@[::1],nats://r:c@127.0.0.1/",
    );
    expect(first).toEqual({ host: "nats-1", port: 4223, tls: false, user: "registry", password: "p@ss" });
    expect(second).toEqual({ host: "::1", port: 4222, tls: true, user: "registry", password: "b" });
    expect([first, second, third].map((address) => address && serverOf(address))).toEqual([
      "nats-1:4223",
      "[::1]:4222",
      "127.0.0.1:4222",
    ]);
  });

  it.each([
    ["somewhere", "is no URL"],
    ["", "is empty"],
    ["http://u:secret@h:1", "must begin with"],
    ["nats://h:4222", "needs a user and a password"],
    ["nats://u@h:4222", "needs a user and a password"],
    ["nats://u:secret@h:4222/x", "has something after its port"],
    ["nats://u:secret@h:4222?a=b", "has something after its port"],
    ["nats://u:secret%@h:4222", "has a %"],
    ["nats://u:secret@h:99999", "is no URL"],
    ["nats://u:secret@h:4222,", "server 2 of 2 is no URL"],
    [Array(17).fill("nats://u:secret@h").join(","), "17 servers are more than the bound of 16"],
  ])("is refused, without telling the password, when it is %j", (url, complaint) => {
    expect(() => read(url)).toThrow(complaint);
    expect(() => read(url)).toThrow(/^MULTINODE_NATS_URL is (wrong: server|wrong: 17|empty)/);
    expect(() => read(url)).not.toThrow("secret");
  });

  it("sends no password in the clear to another machine, unless told so", () => {
    const refuse =
      (url: string, insecure = false) =>
      () =>
        refuseUnprotectedNats(read(url), insecure);
    expect(refuse("nats://u:secret@127.0.0.1,nats://u:secret@nats-1")).toThrow("nats-1:4222 is not on this machine");
    expect(refuse("nats://u:secret@nats-1")).not.toThrow("secret");
    expect(refuse("nats://u:secret@nats-1", true)).not.toThrow();
    expect(refuse("tls://u:secret@nats-1,nats://u:secret@localhost,nats://u:secret@[::1]")).not.toThrow();
  });
});

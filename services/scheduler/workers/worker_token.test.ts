import { describe, expect, it } from "vitest";
import { IdSource } from "../../platform/ids.js";
import { WorkerTokens } from "./worker_token.js";

const workerId = new IdSource({ now: () => Date.now() }).next("wrk");
const tokens = new WorkerTokens(new Uint8Array(32).fill(1));
const token = tokens.issue(workerId);

describe("the token of a worker", () => {
  it("names it to every scheduler with the same secret", async () => {
    expect(await tokens.authority(token)).toEqual({ kind: "worker", workerId });
    expect(await new WorkerTokens(new Uint8Array(32).fill(1)).authority(token)).toEqual({ kind: "worker", workerId });
    expect(await new WorkerTokens(new Uint8Array(32).fill(2)).authority(token)).toBeUndefined();
  });

  it("is refused where anything of it was changed", async () => {
    for (let index = 0; index < token.length; index++) {
      const changed = token.slice(0, index) + (token[index] === "0" ? "1" : "0") + token.slice(index + 1);
      expect(await tokens.authority(changed), String(index)).toBeUndefined();
    }
    for (const text of ["", "mnw_", `${token}x`, `${token}\n`, token.slice(0, -1), token.replace("mnw_", "mnx_")]) {
      expect(await tokens.authority(text), text).toBeUndefined();
    }
  });
});

import { expect, it } from "vitest";
import { readSettings } from "../platform/config.js";
import { WORKER_COUNT_SETTINGS } from "./scheduler_settings.js";

it("a scheduler has at least one worker, and any number of spare ones", () => {
  const read = (env: Record<string, string>) => readSettings(WORKER_COUNT_SETTINGS, env);
  expect(read({ MULTINODE_MAX_WORKERS: "1", MULTINODE_SPARE_WORKERS: "0" })).toEqual({
    MULTINODE_MAX_WORKERS: 1,
    MULTINODE_SPARE_WORKERS: 0,
  });
  for (const wrong of ["0", "10001", "abc", "1.5", "1e3", " 1"]) {
    const problem = `MULTINODE_MAX_WORKERS is "${wrong}": must be a whole number from 1 to 10000`;
    expect(() => read({ MULTINODE_MAX_WORKERS: wrong })).toThrow(problem);
  }
  expect(() => read({ MULTINODE_MAX_WORKERS: "" })).toThrow("MULTINODE_MAX_WORKERS is empty");
});

import { expect, test } from "vitest";
import { parseChaosArguments } from "./chaos_arguments.js";

const plain = { long: { rounds: 30, invocations: 500 }, short: { rounds: 3, invocations: 50 } };
const both = { ...plain, docker: { long: { rounds: 20, invocations: 200 }, short: { rounds: 2, invocations: 20 } } };

test("an extent is long unless asked otherwise, and of the runtime", () => {
  expect(parseChaosArguments(["--seed", "7"], plain)).toEqual({ ...plain.long, runtime: "process", seed: 7 });
  expect(parseChaosArguments(["--short", "--rounds", "5", "--seed", "0"], both)).toMatchObject({
    rounds: 5,
    invocations: 50,
    seed: 0,
  });
  expect(parseChaosArguments(["--runtime", "docker"], both)).toMatchObject({ ...both.docker.long, runtime: "docker" });
});

test.each([
  [["--rounds", "0"], "--rounds 0: a whole number from 1 to 1000000"],
  [["--rounds", "many"], "--rounds many: "],
  [["--invocations", "1.5"], "--invocations 1.5: "],
  [["--seed", "4294967296"], "--seed 4294967296: a whole number from 0 to 4294967295"],
  [["--runtime", "docker"], "--runtime docker: this program knows process"],
  [["--runtime", "podman"], "--runtime podman: "],
  [["--slow"], "--slow"],
])("%j is refused", (args, problem) => {
  expect(() => parseChaosArguments(args, plain)).toThrow(problem);
});

import { describe } from "vitest";
import { testRegistryStore } from "./store.contract.js";
import { openTestParts } from "./test_registry.js";

describe("on SQLite", () => {
  testRegistryStore(openTestParts);
});

import { describe } from "vitest";
import { testRegistryStore } from "./store.contract.js";
import { openTestParts } from "./test_registry.js";

describe("the store of the registry", () => {
  testRegistryStore(openTestParts);
});

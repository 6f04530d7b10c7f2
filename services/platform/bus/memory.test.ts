import { describe } from "vitest";
import { testBus } from "../../../test/contract/bus.contract.js";
import { MemoryBus } from "./memory.js";

describe("the bus of one process", () => {
  testBus(async () => {
    const bus = new MemoryBus();
    return { here: bus, there: bus, close: () => bus.close() };
  });
});

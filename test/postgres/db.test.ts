/** The database port on a real PostgreSQL, whose locale orders words otherwise than their bytes. */
import { describe } from "vitest";
import { TEST_MIGRATIONS, testDbPort } from "../contract/db.contract.js";
import { openTestDatabase } from "../harness/test_database.js";

describe("PostgreSQL", () => {
  testDbPort(() => openTestDatabase(TEST_MIGRATIONS));
});

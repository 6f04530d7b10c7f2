// `npm test`: on a fresh clone too. Ends with one line, alone: N passed, N failed, N skipped.
import { closingLine, runSuites } from "./run_suites.mjs";
import { runScript } from "./toolchain.mjs";

await runScript(import.meta.url, async () => {
  const result = await runSuites({ strict: process.env.CI === "true" });
  console.log(["", ...result.notes, closingLine(result)].join("\n"));
  return result.failed === 0 ? 0 : 1;
});

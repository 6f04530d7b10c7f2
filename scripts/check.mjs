// `npm run check`: all that CI asks for. Every step runs, even after one has failed; each counts as one in the closing line.
import { closingLine, runSuites } from "./run_suites.mjs";
import { run, runScript, seconds } from "./toolchain.mjs";

const STEPS = [
  { name: "format", command: "biome", args: ["check"] },
  { name: "contracts: lint", command: "buf", args: ["lint"] },
  { name: "contracts: format", command: "buf", args: ["format", "--diff", "--exit-code"] },
  // proto/released.binpb is what users have; `npm run proto:release` renews it with a release.
  { name: "contracts: breaking", command: "buf", args: ["breaking", "--against", "proto/released.binpb"] },
  { name: "types", command: "node", args: ["scripts/build.mjs", "types"] },
  { name: "types of the example", command: "tsc", args: ["-p", "examples/tsp"] },
  { name: "lint", command: "oxlint", args: ["--type-aware", "--deny-warnings"] },
];

await runScript(import.meta.url, async () => {
  const steps = [];
  for (const { name, command, args } of STEPS) {
    console.log(`\n== ${name}: ${command} ${args.join(" ")}`);
    const result = await run(command, args, { env: process.stdout.isTTY ? {} : { NO_COLOR: "1" } });
    console.log(`== ${name}: ${result.ok ? "ok" : `FAILED (${result.detail})`} in ${seconds(result.ms)}`);
    steps.push({ name, ...result });
  }
  console.log("\n== tests");
  const startedAt = performance.now();
  const tests = await runSuites({ strict: process.env.CI === "true" });
  steps.push({ name: "tests", ok: tests.failed === 0, ms: performance.now() - startedAt });

  console.log("\nSummary");
  for (const { name, ok, ms } of steps)
    console.log(`  ${ok ? "ok    " : "FAILED"}  ${name.padEnd(20)} ${seconds(ms).padStart(8)}`);
  for (const note of tests.notes) console.log(note);
  const failedSteps = steps.slice(0, -1).filter(({ ok }) => !ok).length;
  console.log(
    closingLine({
      passed: tests.passed + STEPS.length - failedSteps,
      failed: tests.failed + failedSteps,
      skipped: tests.skipped,
    }),
  );
  return steps.every(({ ok }) => ok) ? 0 : 1;
});

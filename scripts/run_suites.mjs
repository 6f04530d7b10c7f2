// Runs the suites, most of them one after the other, and counts: tests in vitest's suites, one for each suite that is a program.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { installNeeds, missingOf } from "./machine_needs.mjs";
import { listSuites } from "./suites.mjs";
import { ROOT, run, seconds } from "./toolchain.mjs";

/**
 * Builds, then runs every suite that this machine can run. Resolves to `{ passed, failed, skipped, notes }`; the notes are lines for
 * the end: what failed, what was left out and what enables it. `strict` (CI): a suite left out is a failure.
 */
export async function runSuites({ strict }) {
  const total = { passed: 0, failed: 0, skipped: 0, notes: [] };
  const built = await run("node", ["scripts/build.mjs"]);
  if (!built.ok) return { ...total, failed: 1, notes: ["failed: the build"] };
  const suites = listSuites();
  await installNeeds(suites);
  for (const group of groupsOf(suites)) {
    const isNamed = group.flat().length > 1;
    await Promise.all(
      group.map(async (lane) => {
        for (const suite of lane) {
          const missing = missingOf(suite);
          const counts = missing.length > 0 ? leftOut(suite, missing, strict) : await runSuite(suite, isNamed);
          total.passed += counts.passed;
          total.failed += counts.failed;
          total.skipped += counts.skipped;
          total.notes.push(...counts.notes);
        }
      }),
    );
  }
  return total;
}

/** Groups, one after the other: of one suite, and of those beside it, which run one after the other too. */
function groupsOf(suites) {
  const groups = [];
  for (const suite of suites) {
    if (suite.beside && groups.length > 0) groups.at(-1)[1].push(suite);
    else groups.push([[suite], []]);
  }
  return groups;
}

/** The closing line, the last one of a run and alone. */
export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

function leftOut(suite, missing, strict) {
  const packages = missing.flatMap(({ debian }) => debian ?? []);
  const install = packages.length > 0 ? [`\`apt-get install ${packages.join(" ")}\``] : [];
  const enable = [...install, ...missing.flatMap(({ enable }) => enable ?? [])].join("; ");
  const note = `left out: ${suite.name}; to enable it: ${enable}`;
  return { passed: 0, failed: strict ? 1 : 0, skipped: strict ? 0 : 1, notes: [note] };
}

/** `isNamed`: each line of its output begins with its name. */
async function runSuite(suite, isNamed) {
  console.log(`\n── ${suite.name} ${"─".repeat(70 - suite.name.length)}`);
  const prefix = isNamed ? `${suite.name} | ` : "";
  const result = suite.project ? await runVitest(suite, prefix) : await runProgram(suite, prefix);
  console.log(`── ${suite.name}: ${closingLine(result)} in ${seconds(result.ms)}`);
  if (result.failed > 0) result.notes.unshift(`failed: ${suite.name} (${result.failed})`);
  return result;
}

async function runProgram({ command: program, within, env, boundMs }, prefix) {
  const [command, ...args] = [...within, ...program];
  const { ok, detail, ms, lastErrors } = await run(command, args, { boundMs, env, prefix, keepErrors: true });
  return {
    passed: ok ? 1 : 0,
    failed: ok ? 0 : 1,
    skipped: 0,
    notes: ok ? [] : [`  ${program.join(" ")} (${detail}):`, ...lastErrors.map(indented)],
    ms,
  };
}

async function runVitest({ project, env, within, boundMs }, prefix) {
  const folder = mkdtempSync(join(tmpdir(), "multinode-test-"));
  const report = join(folder, "report.json");
  try {
    const args = ["run", "--project", project, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    if (!process.stdout.isTTY) args.push("--no-color");
    const [command, ...rest] = [...within, "vitest", ...args];
    const { ok, detail, ms, lastErrors } = await run(command, rest, { boundMs, env, prefix, keepErrors: true });
    const counts = existsSync(report)
      ? countsOf(JSON.parse(readFileSync(report, "utf8")))
      : { passed: 0, failed: 0, skipped: 0, notes: [] };
    // An error outside of any test (a hook, a promise that nobody awaited, the bound) fails no test; it is one failure all the same.
    const lost = !ok && counts.failed === 0;
    return {
      ...counts,
      failed: counts.failed + (lost ? 1 : 0),
      notes: lost ? [`  no test, but vitest (${detail}):`, ...lastErrors.map(indented)] : counts.notes,
      ms,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function indented(line) {
  return `    ${line}`;
}

/** A file that could not even be loaded has no tests to count, and is one failure. */
function countsOf(report) {
  const failed = report.testResults.flatMap(({ name, message, status, assertionResults }) => {
    const tests = assertionResults.filter((test) => test.status === "failed");
    if (tests.length > 0) return tests.map((test) => failureNote(name, test.fullName, test.failureMessages[0]));
    return status === "failed" ? [failureNote(name, "the file", message)] : [];
  });
  return {
    passed: report.numPassedTests,
    failed: failed.length,
    skipped: report.numPendingTests + (report.numTodoTests ?? 0),
    notes: failed,
  };
}

function failureNote(file, title, message = "") {
  return `  ${relative(ROOT, file)} > ${title}: ${message.split("\n", 1)[0]}`;
}

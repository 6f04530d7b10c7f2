import { expect, test } from "vitest";
import { extractProjects } from "./extract.js";

const FENCE = "```";

function projectsOf(...lines: string[]) {
  return extractProjects({ path: "docs/some.md", text: lines.join("\n") });
}

test("blocks that name no file go on with the last one, and lines keep their numbers", () => {
  const [project, ...others] = projectsOf(
    "# Title",
    `${FENCE}ts`,
    "// tasks/main.ts",
    "one();",
    FENCE,
    `${FENCE}bash`,
    "ls",
    FENCE,
    `${FENCE}ts`,
    "two();",
    FENCE,
  );
  expect(others).toEqual([]);
  expect(project?.files).toEqual([
    { path: "tasks/main.ts", text: "\n\n// tasks/main.ts\none();\n\n\n\n\n\ntwo();\n", isRun: true, prints: [] },
  ]);
});

test("a file that is named again begins the next project", () => {
  const block = [`${FENCE}ts`, "// tasks/main.ts", FENCE];
  expect(projectsOf(...block, ...block).map(({ line }) => line)).toEqual([2, 5]);
});

test("what a file prints is read from the comments behind console.log", () => {
  const [project] = projectsOf(
    `${FENCE}ts no-run`,
    "// application/main.ts",
    "console.log(1 + 1); // 2",
    "  console.log(Date.now()); // e.g. 1700000000000",
    "other(); // 3",
    FENCE,
  );
  expect(project?.files[0]).toMatchObject({ isRun: false, prints: ["2"] });
});

test("a block without a file, and one without an end, are faults of the document", () => {
  expect(() => projectsOf(`${FENCE}ts`, "one();", FENCE)).toThrow("docs/some.md:2: the block belongs to no file");
  expect(() => projectsOf(`${FENCE}ts`, "// a.ts")).toThrow("docs/some.md:2: the block has no end");
});

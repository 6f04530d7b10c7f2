/**
 * TypeScript projects out of documents.
 *
 * E1. A block ```ts belongs to a file. Its first line names the file, as in `// tasks/main.ts`; a block that names none
 *     goes on with the file that was named last.
 * E2. A block that names a file which the project has already begins the next project.
 * E3. Every line of a file has the number that it has in the document, so that what a compiler says of it points there.
 * E4. A file is run unless one of its blocks is marked ```ts no-run. What lies under tasks/ is deployed.
 */
import type { Document } from "./documents.js";

export interface SnippetFile {
  /** Path in the project, such as "application/main.ts". */
  readonly path: string;
  readonly text: string;
  readonly isRun: boolean;
  /** Lines that running it must print, in this order: what stands in a comment behind a `console.log`. */
  readonly prints: readonly string[];
}

export interface SnippetProject {
  readonly documentPath: string;
  /** Line of its first block, from 1. */
  readonly line: number;
  readonly files: readonly SnippetFile[];
}

interface Block {
  readonly line: number;
  readonly isRun: boolean;
  readonly lines: readonly string[];
}

const FILE_NAME = /^\/\/ ((?:[\w-]+\/)*[\w-]+\.ts)$/;
/** "e.g." says that the value differs from run to run. */
const PRINTS = /^\s*console\.log\(.*\); \/\/ (?!e\.g\. )(.+)$/;

export function extractProjects(document: Document): SnippetProject[] {
  const projects: { line: number; files: Map<string, Block[]> }[] = [];
  let current: string | undefined;
  for (const block of blocksOf(document)) {
    const named = FILE_NAME.exec(block.lines[0] ?? "")?.[1];
    if (named !== undefined) {
      if (projects.length === 0 || projects.at(-1)?.files.has(named))
        projects.push({ line: block.line, files: new Map() });
      current = named;
    }
    if (current === undefined) throw new Error(`${document.path}:${block.line}: the block belongs to no file`);
    const files = projects.at(-1)?.files;
    files?.set(current, [...(files.get(current) ?? []), block]);
  }
  return projects.map(({ line, files }) => ({
    documentPath: document.path,
    line,
    files: [...files].map(([path, blocks]) => fileOf(path, blocks)),
  }));
}

function blocksOf({ path, text }: Document): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; isTs: boolean; isRun: boolean; lines: string[] } | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^```(.*)$/.exec(line)?.[1];
    if (fence === undefined) open?.lines.push(line);
    else if (open === undefined) {
      const [language, mark] = fence.split(" ");
      // The first line of the block comes after its fence; both counts begin at 1.
      open = { line: index + 2, isTs: language === "ts", isRun: mark !== "no-run", lines: [] };
    } else {
      if (open.isTs) blocks.push(open);
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`${path}:${open.line}: the block has no end`);
  return blocks;
}

function fileOf(path: string, blocks: readonly Block[]): SnippetFile {
  const lines: string[] = [];
  for (const block of blocks) {
    while (lines.length < block.line - 1) lines.push("");
    lines.push(...block.lines);
  }
  return {
    path,
    text: `${lines.join("\n")}\n`,
    isRun: blocks.every(({ isRun }) => isRun),
    prints: lines.flatMap((line) => PRINTS.exec(line)?.[1] ?? []),
  };
}

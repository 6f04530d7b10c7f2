/** What people read: README.md, that of the package, CONTRIBUTING.md and everything under docs/. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

export interface Document {
  /** Path from the top of the repository, such as "docs/limits.md". */
  readonly path: string;
  readonly text: string;
}

export function listDocuments(): Document[] {
  const inDocs = readdirSync(join(REPOSITORY, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .toSorted()
    .map((name) => `docs/${name}`);
  return ["README.md", "sdk/typescript/README.md", "CONTRIBUTING.md", ...inDocs].map(readDocument);
}

export function readDocument(path: string): Document {
  return { path, text: readFileSync(join(REPOSITORY, path), "utf8") };
}

/** Links within the repository lead somewhere: to a file or folder that exists, and to a heading that it has. */
import { existsSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { listDocuments, REPOSITORY, readDocument } from "./documents.js";

const LINK = /\]\(([^)\s]+)\)/g;

test.each(listDocuments().map((document) => [document.path, document.text]))("the links of %s", (path, text) => {
  const prose = text.replaceAll(/^```[\s\S]*?^```$/gm, "");
  const broken = [...prose.matchAll(LINK)]
    .map(([, target = ""]) => target)
    .filter((target) => !leadsSomewhere(path, target));
  expect(broken).toEqual([]);
});

function leadsSomewhere(from: string, target: string): boolean {
  if (/^https?:/.test(target)) return true;
  const [file = "", heading] = target.split("#");
  const path = file === "" ? from : normalize(join(dirname(from), file));
  if (path.startsWith("..") || !existsSync(join(REPOSITORY, path))) return false;
  if (heading === undefined) return true;
  return statSync(join(REPOSITORY, path)).isFile() && headingsOf(readDocument(path).text).includes(heading);
}

/** Headings as a web page of the repository names them. */
function headingsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

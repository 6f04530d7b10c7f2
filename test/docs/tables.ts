/** Tables of a document. */

/** The cells of each row below the heading row that begins with these columns; code marks are taken off. */
export function tableRows(text: string, columns: readonly string[]): string[][] {
  const lines = text.split("\n");
  const rows: string[][] = [];
  for (const [index, line] of lines.entries()) {
    const heading = cellsOf(line);
    if (!columns.every((column, place) => heading?.[place] === column)) continue;
    for (let row = index + 2; ; row += 1) {
      const cells = cellsOf(lines[row] ?? "");
      if (cells === undefined) break;
      rows.push(cells);
    }
  }
  return rows;
}

function cellsOf(line: string): string[] | undefined {
  if (!line.startsWith("|")) return undefined;
  return line
    .slice(1, line.lastIndexOf("|"))
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("`", "").replaceAll("\\|", "|"));
}

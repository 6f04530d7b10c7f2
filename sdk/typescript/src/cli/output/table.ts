import stringWidth from "string-width";

const GAP = "  ";

/**
 * Lines of a table whose columns are aligned, with a head. Cells may be coloured. No line ends in blanks, and the last
 * column is as long as it is, so that nothing is cut where the output is read by a program.
 */
export function tableLines(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) =>
    Math.max(stringWidth(title), ...rows.map((row) => stringWidth(row[column] ?? ""))),
  );
  return [head, ...rows].map((row) => alignedLine(row, widths));
}

/** Lines of names and values, the values aligned. Pairs without a value are left out. */
export function fieldLines(fields: readonly (readonly [name: string, value: string | undefined])[]): string[] {
  const shown = fields.filter((field): field is readonly [string, string] => field[1] !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => stringWidth(name)));
  return shown.map(([name, value]) => alignedLine([name, value], [width]));
}

function alignedLine(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, column) => cell + " ".repeat(Math.max(0, (widths[column] ?? 0) - stringWidth(cell))))
    .join(GAP)
    .trimEnd();
}

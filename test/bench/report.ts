/** The table, for people. */
import type { Machine } from "./harness/machine.js";
import { type Limits, type Measurement, type Outcome, type Row, ratioOf, verdictOf } from "./measurement.js";

const HEADER = ["", "value", "yardstick", "", "ratio", "bound", "aim", ""];
/** Columns of figures. */
const RIGHT_ALIGNED = new Set([1, 3, 4, 5, 6]);
/** Load for each core under which a machine counts as quiet. */
const QUIET_LOAD = 0.3;

export function machineLines({ cpu, cores, memoryGib, kernel, node, load }: Machine): string {
  const line = `${cpu}, ${cores} cores, ${memoryGib} GiB, ${kernel}, node ${node}, load ${load.toFixed(1)}`;
  return load < cores * QUIET_LOAD
    ? line
    : `${line}\nOthers are at work on this machine: only ratios mean something, and p99 means nothing.`;
}

export function table({ title }: Pick<Measurement, "title">, { rows, notes }: Outcome): string {
  const cells = [HEADER, ...rows.map(cellsOf)];
  const widths = HEADER.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  const lines = cells.map((line) =>
    line
      .map((cell, column) =>
        RIGHT_ALIGNED.has(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
  return ["", title, ...[...lines, ...notes].map((line) => `  ${line}`)].join("\n");
}

function cellsOf(row: Row): string[] {
  const ratio = ratioOf(row);
  const { limits, yardstick } = row;
  return [
    row.what,
    `${number(row.value)} ${row.unit}`,
    yardstick?.name ?? "",
    yardstick === undefined ? "" : `${number(yardstick.value)} ${row.unit}`,
    ratio === undefined ? "" : ratio.toFixed(2),
    limits === undefined ? "" : limit(limits, limits.bound),
    limits === undefined ? "" : limit(limits, limits.aim),
    verdictOf(row),
  ];
}

function limit({ better }: Limits, value: number): string {
  return `${better === "lower" ? "≤" : "≥"} ${value}`;
}

/** Three digits are all that a measurement on a shared machine gives. */
function number(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en");
  return value.toPrecision(3);
}

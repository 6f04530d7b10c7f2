/** Numbers and times as people read them. */
import stringWidth from "string-width";

/** What is shown as one. */
const CHARACTERS = new Intl.Segmenter();

/** But for line breaks and tabs. */
const CONTROLS = /(?![\n\t])\p{Cc}/gu;

const UNITS = ["B", "KiB", "MiB", "GiB"] as const;

/** 1536 → "1.5 KiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${shortNumber(value)} ${UNITS[unit]}`;
}

/** 90_000 → "1m 30s"; 1_234 → "1.23s"; 12 → "12ms". At most two units. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.max(0, Math.round(durationMs))}ms`;
  if (durationMs < 60_000) return `${shortNumber(durationMs / 1_000)}s`;
  const seconds = Math.floor(durationMs / 1_000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count}${unit}`).join(" ");
}

/** In the time zone of the reader: "2026-11-23 03:21:14". */
export function formatTime(time: Date): string {
  return `${formatDay(time)} ${formatClock(time)}`;
}

function formatDay(time: Date): string {
  return [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
}

/** In the time zone of the reader: "03:21:14". */
function formatClock(time: Date): string {
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":");
}

/** In the time zone of the reader: "03:21:14.042". */
export function formatClockMs(time: Date): string {
  return `${formatClock(time)}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

/** "1 function", "2 functions". */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * A text that came from user code, for a terminal: what would colour it, move its cursor or set its title is written out, as
 * Node does it for texts within a result.
 */
export function harmless(text: string): string {
  return text.replaceAll(
    CONTROLS,
    (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`,
  );
}

/** The beginning of a text, in one line of at most `width` columns. */
export function shorten(text: string, width: number): string {
  const whole = harmless(text.replaceAll(/\s+/g, " "));
  // To measure a long text takes a while, and this much of it fills a line in any script.
  const line = whole.slice(0, 20 * width);
  if (line.length === whole.length && stringWidth(line) <= width) return line;
  let kept = "";
  let left = width - 1;
  for (const { segment } of CHARACTERS.segment(line)) {
    left -= stringWidth(segment);
    if (left < 0) break;
    kept += segment;
  }
  return `${kept}…`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/** Three digits that count: 1.23, 12.3, 123. */
function shortNumber(value: number): string {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return String(Number(value.toFixed(digits)));
}

/** Draws a tour. */
import type { City } from "../tasks/tour.ts";

const MARGIN = 40;
const CITY_RADIUS = 8;

/** An SVG image of the cities and the closed tour through them, x to the right and y upwards. `title` is plain text. */
export function tourSvg(cities: readonly City[], tour: readonly number[], title: string): string {
  const width = Math.max(...cities.map(([x]) => x)) + 2 * MARGIN;
  const height = Math.max(...cities.map(([, y]) => y)) + 2 * MARGIN;
  const points = tour.map((index) => {
    const city = cities[index];
    if (city === undefined) throw new RangeError(`the tour visits city ${index}, and there are ${cities.length}`);
    return { x: city[0] + MARGIN, y: height - MARGIN - city[1] };
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width / 2}" height="${height / 2}">`,
    `  <title>${escapeText(title)}</title>`,
    `  <rect width="${width}" height="${height}" fill="#fbfaf7"/>`,
    `  <polygon points="${points.map(({ x, y }) => `${x},${y}`).join(" ")}" fill="#e3edf7" stroke="#2b6cb0" stroke-width="5" stroke-linejoin="round"/>`,
    ...points.map(({ x, y }) => `  <circle cx="${x}" cy="${y}" r="${CITY_RADIUS}" fill="#c2410c"/>`),
    "</svg>",
    "",
  ].join("\n");
}

function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

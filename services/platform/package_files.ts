/** Files of the package that are run or read, and not imported. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * In the published package they lie beside the bundled code; in a checkout, in the package's `dist`, as seen from the
 * sources and from what tsc makes of them in `build`.
 */
const PLACES = ["./", "../../sdk/typescript/dist/", "../../../sdk/typescript/dist/"];

/** @throws Error when the package was not built. */
export function packageFile(name: string): string {
  for (const place of PLACES) {
    const file = fileURLToPath(new URL(place + name, import.meta.url));
    if (existsSync(file)) return file;
  }
  throw new Error(`${name} is missing: build the package first (npm run build)`);
}

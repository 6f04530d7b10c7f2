import { fileURLToPath } from "node:url";

/** As seen from the sources, and from what tsc makes of them in `build`. */
const ROOT = new URL(import.meta.url.endsWith(".js") ? "../../../" : "../../", import.meta.url);

/** A file of this repository. What is in `build` and in `dist` is made by `npm run build`. */
export function repositoryFile(path: string): string {
  return fileURLToPath(new URL(path, ROOT));
}

export function serviceProgram(name: "registry" | "invocation" | "scheduler"): string {
  return repositoryFile(`build/services/${name}/main.js`);
}

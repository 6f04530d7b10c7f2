import { fileURLToPath } from "node:url";

/** The built command line, from the sources and from their build. */
export const CLI_PROGRAM = fileURLToPath(
  new URL(`${import.meta.url.endsWith(".js") ? "../" : ""}../../sdk/typescript/dist/cli.js`, import.meta.url),
);

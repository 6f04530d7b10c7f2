import { fileURLToPath } from "node:url";

/** Of this process's environment: what a program needs to run, and to trust the server. */
export const CLI_ENVIRONMENT = {
  PATH: process.env["PATH"],
  NODE_EXTRA_CA_CERTS: process.env["NODE_EXTRA_CA_CERTS"],
};

/** The built command line, from the sources and from their build. */
export const CLI_PROGRAM = fileURLToPath(
  new URL(`${import.meta.url.endsWith(".js") ? "../" : ""}../../sdk/typescript/dist/cli.js`, import.meta.url),
);

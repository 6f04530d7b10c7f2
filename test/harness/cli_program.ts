import { repositoryFile } from "./repository.js";

/** Of this process's environment: what a program needs to run, and to trust the server. */
export const CLI_ENVIRONMENT = {
  PATH: process.env["PATH"],
  NODE_EXTRA_CA_CERTS: process.env["NODE_EXTRA_CA_CERTS"],
};

/** The built command line. */
export const CLI_PROGRAM = repositoryFile("sdk/typescript/dist/cli.js");

import { createArchive } from "../../bundle/archive.js";
import { EXAMPLE_MAIN } from "./example_main.js";

const GATED_MAIN = `${EXAMPLE_MAIN}
  import { appendFileSync, existsSync } from "node:fs";
  console.log("loading");
  while (!existsSync(process.env.GATE)) ;
  export const mark = mn.function((name) => appendFileSync(process.env.MARKS, name));
`;

/** Code that holds its thread while it is loaded, until the file GATE exists; `mark` appends to the file MARKS. */
export const GATED = createArchive(new Map([["main.mjs", { data: Buffer.from(GATED_MAIN) }]]));

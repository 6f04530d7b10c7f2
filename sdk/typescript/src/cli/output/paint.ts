import picocolors from "picocolors";
import { type Io, type Output, wantsColor } from "../io.js";

export type Paint = ReturnType<typeof picocolors.createColors>;

/** Colours for what goes to `output`; they do nothing where it is no terminal or NO_COLOR is set. */
export function paintFor(output: Output, env: Io["env"]): Paint {
  return picocolors.createColors(wantsColor(output, env));
}

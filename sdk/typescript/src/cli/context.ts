import type { MultinodeClient } from "../client/client.js";
import type { Io } from "./io.js";

/** What every command is given. */
export interface CommandContext {
  readonly io: Io;
  /** A client with the credentials of the environment or of the login file. Whoever asks for it closes it. */
  readonly connect: () => Promise<MultinodeClient>;
}

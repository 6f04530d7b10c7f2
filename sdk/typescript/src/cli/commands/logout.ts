import type { Command } from "commander";
import { loginFilePath, removeLoginFile } from "../../client/credentials.js";
import type { CommandContext } from "../context.js";
import { writeLines } from "../output/write.js";

export function registerLogout(program: Command, { io }: CommandContext): void {
  program
    .command("logout")
    .description("forget the credentials that login wrote")
    .action(async () => {
      const path = loginFilePath(io.env);
      const removed = await removeLoginFile(io.env);
      writeLines(io, [removed ? `Logged out: ${path} is removed.` : `You were not logged in: there is no ${path}.`]);
    });
}

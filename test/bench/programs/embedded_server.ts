/** The embedded server with another number of spare workers than the CLI gives it: `embedded_server.js FOLDER PORT SPARES`. */
import type * as Embedded from "../../../services/embedded/embedded.js";
import { EMBEDDED } from "../harness/repository.js";

const [dataDir = "", port, spareWorkers] = process.argv.slice(2);
const { startEmbedded } = (await import(EMBEDDED)) as typeof Embedded;
const server = await startEmbedded({
  dataDir,
  host: "127.0.0.1",
  port: Number(port),
  spareWorkers: Number(spareWorkers),
});
process.once("SIGTERM", () => void server.stop().then(() => process.exit(0)));
const { url, apiKeyFile } = server;
console.log(JSON.stringify({ url, apiKeyFile }));

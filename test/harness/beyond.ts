/**
 * A stand-in for the world beyond this machine: a network namespace behind a cable, that answers on every port it is asked on.
 * The machine itself reaches it and hands packets on to it. For tests that run in a network of their own, as root.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";

/** An address for documentation, and that of the metadata services of clouds. */
export const BEYOND_ADDRESSES = ["192.0.2.1", "169.254.169.254"] as const;
export const BEYOND_PORT = 80;

const SERVER = `
  require("node:net").createServer((socket) => socket.end()).listen(${BEYOND_PORT}, "0.0.0.0", () => console.log("listening"));
`;
/** An engine that starts later leaves interfaces of this name alone. */
const CABLE = "veth-beyond";
const FAR_END = "far";
const OWN_ADDRESS = "192.0.2.254";

/** Answers what takes it away. */
export async function openBeyond(): Promise<() => Promise<void>> {
  const world = spawn("unshare", ["--net", process.execPath, "-e", SERVER], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(world, "exit");
  await Promise.race([once(world.stdout, "data"), ended]);
  if (world.pid === undefined || world.exitCode !== null) throw new Error("there is no network namespace");
  const there = ["-t", String(world.pid), "-n", "ip"];
  const here = (command: string) => execFileSync("ip", command.split(" "));
  const inWorld = (command: string) => execFileSync("nsenter", [...there, ...command.split(" ")]);
  here(`link add ${CABLE} type veth peer name ${FAR_END} netns ${world.pid}`);
  here(`addr add ${OWN_ADDRESS}/24 dev ${CABLE}`);
  here(`link set ${CABLE} up`);
  for (const address of BEYOND_ADDRESSES) inWorld(`addr add ${address}/24 dev ${FAR_END}`);
  inWorld(`link set ${FAR_END} up`);
  inWorld(`route add default via ${OWN_ADDRESS}`);
  here(`route add ${BEYOND_ADDRESSES[1]} dev ${CABLE}`);
  return async () => {
    world.kill("SIGKILL");
    await ended; // the cable goes with it
  };
}

/**
 * A stand-in for the world beyond this machine: a network namespace behind a cable, with something that listens and a name server.
 * The machine itself reaches it and hands packets on to it. For tests that run in a network of their own, as root.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { untilOwnNetwork } from "./own_network.js";

/** An address for documentation, that of the metadata services of clouds, and a private one. */
export const BEYOND_ADDRESSES = ["192.0.2.1", "169.254.169.254", "10.66.0.1"] as const;
export const BEYOND_PORT = 80;

/** Its name server gives every name the first address: a header that says so, the question, and one answer. */
const SERVER = `
  // One for each address, which is what it answers from.
  const names = (own) => require("node:dgram").createSocket("udp4").bind(53, own).on("message", answer);
  function answer(query, { port, address }) {
    const question = query.subarray(12, query.indexOf(0, 12) + 5);
    const isOfIPv4 = question.readUInt16BE(question.length - 4) === 1;
    const header = Buffer.from([...query.subarray(0, 2), 0x81, 0x80, 0, 1, 0, isOfIPv4 ? 1 : 0, 0, 0, 0, 0]);
    const record = isOfIPv4 ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ${BEYOND_ADDRESSES[0].replaceAll(".", ", ")}] : [];
    this.send(Buffer.concat([header, question, Buffer.from(record)]), port, address);
  }
  process.stdin.once("data", () => {
    for (const own of ${JSON.stringify(BEYOND_ADDRESSES)}) names(own);
    require("node:net").createServer((socket) => socket.end()).listen(${BEYOND_PORT}, "0.0.0.0", () => console.log("listening"));
  });
`;
/** An engine that starts later leaves interfaces of this name alone. */
const CABLE = "veth-beyond";
const FAR_END = "far";
const OWN_ADDRESS = "192.0.2.254";

/** Answers what takes it away. */
export async function openBeyond(): Promise<() => Promise<void>> {
  const world = spawn("unshare", ["--net", process.execPath, "-e", SERVER], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(world, "exit");
  await once(world, "spawn");
  await untilOwnNetwork(world.pid);
  const there = ["-t", String(world.pid), "-n", "ip"];
  const here = (command: string) => execFileSync("ip", command.split(" "));
  const inWorld = (command: string) => execFileSync("nsenter", [...there, ...command.split(" ")]);
  here(`link add ${CABLE} type veth peer name ${FAR_END} netns ${world.pid}`);
  here(`addr add ${OWN_ADDRESS}/24 dev ${CABLE}`);
  here(`link set ${CABLE} up`);
  for (const address of BEYOND_ADDRESSES) inWorld(`addr add ${address}/24 dev ${FAR_END}`);
  inWorld(`link set ${FAR_END} up`);
  inWorld(`route add default via ${OWN_ADDRESS}`);
  for (const address of BEYOND_ADDRESSES.slice(1)) here(`route add ${address} dev ${CABLE}`);
  // Its addresses are there to be bound to.
  world.stdin.write("\n");
  await Promise.race([once(world.stdout, "data"), ended]);
  if (world.exitCode !== null) throw new Error("there is no world beyond this machine");
  return async () => {
    world.kill("SIGKILL");
    await ended; // the cable goes with it
  };
}

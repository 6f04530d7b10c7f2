// Stands in for the worker program in a container: says what it was told, and does what its token asks for.
const { spawn } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { connect, createServer } = require("node:net");

const [config, firstWork] = readFileSync("/dev/stdin", "utf8").split("\n");
const boot = JSON.parse(config);
const report = (more) => process.stdout.write(`${JSON.stringify({ ...boot, env: process.env, ...more })}\n`);

if (firstWork) process.stdout.write(`begins ${JSON.parse(firstWork).assign.executionId}\n`);
process.on("SIGUSR2", () => process.exit(3));
setInterval(() => {}, 1_000);

switch (boot.workerToken) {
  case "prints":
    process.stdout.write("one\ntwo");
    process.stderr.write("three\n");
    setTimeout(() => process.exit(), 50);
    break;
  case "takes too much memory": {
    const held = [];
    for (;;) held.push(Buffer.alloc(8 << 20, 1));
  }
  case "has a child":
    spawn("sleep", ["600"], { detached: true, stdio: "ignore" }).unref();
    report({});
    break;
  case "listens":
    createServer().listen(7_000, "0.0.0.0", () => report({}));
    break;
  case "repeats":
    report({});
    setInterval(() => process.stdout.write("again\n"), 100);
    break;
  case "ends soon":
    report({});
    setTimeout(() => process.exit(4), 3_000);
    break;
  default:
    report({});
}

const file = /^reads (\S+)$/.exec(boot.workerToken)?.[1];
if (file !== undefined) {
  try {
    process.stdout.write(`readable: ${readFileSync(file, "utf8")}\n`);
  } catch ({ code }) {
    process.stdout.write(`unreadable: ${code}\n`);
  }
}

const target = /^connects to (\S+):(\d+)$/.exec(boot.workerToken);
if (target !== null) {
  const socket = connect({ host: target[1], port: Number(target[2]), timeout: 1_500 });
  socket.on("connect", () => process.stdout.write("reached\n"));
  socket.on("timeout", () => process.stdout.write("unreachable: timeout\n"));
  socket.on("error", ({ code }) => process.stdout.write(`unreachable: ${code}\n`));
}

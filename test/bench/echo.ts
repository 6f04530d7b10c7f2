/** Yardstick: grpc-js alone, one call or message after another and many at once, between two processes. */
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import { ECHO } from "./harness/echo_service.js";
import { program } from "./harness/repository.js";
import { alternate, latency } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome } from "./measurement.js";

const PAYLOAD = Buffer.alloc(205, 1);
const IN_FLIGHT = 256;

export const echo: Measurement = { name: "echo", title: "yardstick: grpc-js echo of 205 bytes", measure };

async function measure(bench: Bench): Promise<Outcome> {
  await using server = bench.processes.node([program("echo_server")]);
  const client = new Client(`127.0.0.1:${await server.message<number>()}`, credentials.createInsecure());
  const unary = () => callUnary(client);
  const stream = new EchoStream(client);
  const message = () => stream.send();
  try {
    const [samples, burst] = bench.quick ? [300, 3_000] : [2_000, 20_000];
    await inSequence(samples, unary);
    await inSequence(samples, message);
    const figures = await alternate({
      unary: async () => ({ ...(await inSequence(samples, unary)), rate: await atOnce(burst, unary) }),
      stream: async () => ({ ...(await inSequence(samples, message)), rate: await atOnce(burst, message) }),
    });
    return {
      rows: (["unary", "stream"] as const).flatMap((kind) => [
        { what: `${kind} p50`, value: figures[kind].p50, unit: "ms" },
        { what: `${kind} p99`, value: figures[kind].p99, unit: "ms" },
        { what: `${kind}, ${IN_FLIGHT} in flight`, value: figures[kind].rate, unit: "/s" },
      ]),
      notes: [],
    };
  } finally {
    stream.end();
    client.close();
  }
}

function callUnary(client: Client): Promise<void> {
  const { path, requestSerialize, responseDeserialize } = ECHO.unary;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, PAYLOAD, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

/** One stream, whose answers come in the order of the messages. */
class EchoStream {
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  readonly #waiting: (() => void)[] = [];

  constructor(client: Client) {
    const { path, requestSerialize, responseDeserialize } = ECHO.stream;
    this.#call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    this.#call.on("data", () => this.#waiting.shift()?.());
    this.#call.on("error", () => {}); // told by the messages that stay unanswered
  }

  send(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#call.write(PAYLOAD);
    });
  }

  end(): void {
    this.#call.cancel();
  }
}

async function inSequence(count: number, work: () => Promise<void>): Promise<{ p50: number; p99: number }> {
  const samplesMs: number[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = performance.now();
    await work();
    samplesMs.push(performance.now() - startedAt);
  }
  return latency(samplesMs);
}

/** Pieces of work a second, with a fixed number in flight. */
async function atOnce(count: number, work: () => Promise<void>): Promise<number> {
  let left = count;
  const startedAt = performance.now();
  const one = async () => {
    while (left > 0) {
      left -= 1;
      await work();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, one));
  return (count * 1_000) / (performance.now() - startedAt);
}

/**
 * How a test and the functions that it deployed wait for each other, wherever these run: they connect to a server in the test's
 * process and ask for one thing by a line of text.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { inject } from "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** An address of this machine that workers reach. Absent: its loopback. */
    readonly gateHost?: string;
  }
}

/** A module that a project may have as `gate.ts`. Each function takes a place, which `Gates.place()` has named. */
export const GATE_SOURCE = `
  import { spawn } from "node:child_process";
  import { once } from "node:events";
  import { connect } from "node:net";

  /** Waits for the test to open the gate. */
  export async function passGate(gate: string, signal?: AbortSignal): Promise<void> {
    (await ask(gate, "pass", "", signal)).destroy();
  }

  /** Leaves a line for the test. */
  export async function note(notes: string, text: string): Promise<void> {
    (await ask(notes, "note", text)).destroy();
  }

  /** Holds a line until this process ends: by it the test knows that this process lives. */
  export async function holdLine(line: string): Promise<void> {
    (await ask(line, "hold")).unref();
  }

  /**
   * Starts a process that holds the first line, and itself starts one for those that follow. Daemons leave their process
   * group and ignore SIGTERM.
   */
  export function spawnHolders(kind: "children" | "daemons", ...lines: string[]): void {
    const detached = kind === "daemons";
    const holder = \`
      const detached = \${detached};
      if (detached) process.on("SIGTERM", () => {});
      const [line, ...others] = process.argv.slice(1);
      const [host, port, id] = line.split(/[:/]/);
      require("node:net").connect(Number(port), host).write(JSON.stringify({ verb: "hold", id, text: "" }) + "\\\\n");
      const { execArgv, execPath } = process;
      if (others.length > 0) require("node:child_process").spawn(execPath, [...execArgv, ...others], { stdio: "ignore", detached });
      setInterval(() => {}, 1_000);
    \`;
    spawn(process.execPath, ["-e", holder, ...lines], { stdio: "ignore", detached });
  }

  async function ask(place: string, verb: string, text = "", signal?: AbortSignal) {
    const [host, port, id] = place.split(/[:/]/);
    const socket = connect(Number(port), host);
    socket.once("end", () => socket.destroy(new Error("the test is over")));
    socket.write(JSON.stringify({ verb, id, text }) + "\\n");
    try {
      await once(socket, "data", signal === undefined ? {} : { signal });
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return socket.on("error", () => undefined);
  }
`;

interface Place {
  /** Those who wait for the gate; undefined once it is open. */
  waiting: Socket[] | undefined;
  readonly notes: string[];
  readonly holders: Set<Socket>;
  /** Lines that were ever held. */
  held: number;
}

interface Asked {
  readonly verb: "pass" | "note" | "hold";
  readonly id: string;
  readonly text: string;
}

export class Gates {
  readonly #server: Server;
  readonly #address: string;
  readonly #places: Place[] = [];
  readonly #sockets = new Set<Socket>();

  /** Opens a server for one test file. `host`: an address of this machine that workers reach. */
  static async open(host = inject("gateHost") ?? "127.0.0.1"): Promise<Gates> {
    const server = createServer().listen(0, host);
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("there is no port");
    return new Gates(server, `${host}:${address.port}`);
  }

  private constructor(server: Server, address: string) {
    this.#server = server;
    this.#address = address;
    server.on("connection", (socket) => this.#accept(socket));
  }

  /** A gate, notes, or a line, which nothing has come to yet. */
  place(): string {
    const id = this.#places.push({ waiting: [], notes: [], holders: new Set(), held: 0 }) - 1;
    return `${this.#address}/${id}`;
  }

  open(gate: string): void {
    const place = this.#find(gate);
    for (const socket of place.waiting ?? []) answer(socket);
    place.waiting = undefined;
  }

  /** The lines that functions left at a place. */
  notes(notes: string): readonly string[] {
    return this.#find(notes).notes;
  }

  /** How many processes hold a line, and how many ever did. One that has ended before this was asked is not counted. */
  async holders(line: string): Promise<{ readonly now: number; readonly ever: number }> {
    // The system tells of the end of a connection in order: what ended before this one began is heard before its answer.
    const probe = this.place();
    this.open(probe);
    const [host = "", port] = this.#address.split(":");
    const socket = connect(Number(port), host);
    socket.write(`${JSON.stringify({ verb: "pass", id: probe.split("/")[1], text: "" })}\n`);
    await once(socket, "data");
    socket.destroy();
    const { holders, held } = this.#find(line);
    return { now: holders.size, ever: held };
  }

  /** Whoever still waits is told that the test is over. */
  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.end().unref();
  }

  #find(place: string): Place {
    const found = this.#places[Number(place.split("/")[1])];
    if (found === undefined) throw new Error(`there is no place ${place}`);
    return found;
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => undefined); // its process was killed
    socket.once("close", () => this.#sockets.delete(socket));
    createInterface({ input: socket }).once("line", (line) => this.#asked(socket, JSON.parse(line) as Asked));
  }

  #asked(socket: Socket, { verb, id, text }: Asked): void {
    const place = this.#find(`/${id}`);
    switch (verb) {
      case "pass":
        if (place.waiting === undefined) answer(socket);
        else place.waiting.push(socket);
        return;
      case "note":
        place.notes.push(text);
        return answer(socket);
      case "hold":
        place.held += 1;
        place.holders.add(socket);
        for (const ended of ["end", "error", "close"]) socket.once(ended, () => place.holders.delete(socket));
        return answer(socket);
    }
  }
}

function answer(socket: Socket): void {
  socket.write("yes\n");
}

/** The clients that the functions of a process share: one batch of starts and one watch stream for each credential. */
import type { Channel } from "nice-grpc";
import type { RunningExecution } from "../definition/context.js";
import { MultinodeClient } from "./client.js";
import { openChannel } from "./connection.js";
import type { Credentials } from "./credentials.js";
import type { InvocationClient } from "./invocation_client.js";

/** Clients by credential. They are never closed: an idle one holds neither a stream nor the process. */
class SharedClients {
  readonly #clients = new Map<string, InvocationClient>();
  /** One connection for each server, whatever the credential. */
  readonly #channels = new Map<string, Channel>();
  /** A client lives as long as its execution. */
  readonly #ofExecutions = new WeakMap<RunningExecution, InvocationClient>();

  of({ apiUrl, apiKey }: Credentials): InvocationClient {
    const key = `${apiUrl}\n${apiKey}`;
    let client = this.#clients.get(key);
    if (client === undefined) {
      client = new MultinodeClient({ apiUrl, apiKey, channel: this.#channel(apiUrl) });
      this.#clients.set(key, client);
    }
    return client;
  }

  ofExecution(execution: RunningExecution): InvocationClient {
    let client = this.#ofExecutions.get(execution);
    if (client === undefined) {
      const { apiUrl, executionToken, maxPayloadBytes } = execution;
      const channel = this.#channel(apiUrl);
      client = new MultinodeClient({ apiUrl, apiKey: executionToken, maxPayloadBytes, channel });
      this.#ofExecutions.set(execution, client);
    }
    return client;
  }

  #channel(apiUrl: string): Channel {
    let channel = this.#channels.get(apiUrl);
    if (channel === undefined) {
      channel = openChannel(apiUrl);
      this.#channels.set(apiUrl, channel);
    }
    return channel;
  }
}

const processClients = new SharedClients();

/** The client of a URL and an API key, shared by the whole process. */
export function sharedClient(credentials: Credentials): InvocationClient {
  return processClients.of(credentials);
}

/** The client with which the code of an execution calls its sibling functions. */
export function clientOfExecution(execution: RunningExecution): InvocationClient {
  return processClients.ofExecution(execution);
}

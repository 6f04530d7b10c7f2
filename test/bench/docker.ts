/**
 * Speed of a cluster: containers against the bare engine, and the separate services on PostgreSQL and NATS against BullMQ and
 * pg-boss. Run in a network of its own, since it starts an engine: `npm run bench:docker`.
 *
 *     node build/test/bench/docker.js [--quick] [--only fresh,burst,call,map,yield] [--json FILE]
 */
import { containersAtOnce } from "./containers_at_once.js";
import { freshContainer } from "./fresh_container.js";
import { clusterMap } from "./map.js";
import { runProgram } from "./program.js";
import { clusterCall } from "./warm_call.js";
import { clusterYield } from "./yield_latency.js";

await runProgram([freshContainer, containersAtOnce, clusterCall, clusterMap, clusterYield]);

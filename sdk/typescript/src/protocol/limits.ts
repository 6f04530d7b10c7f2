/**
 * Every limit of the system that users, or two of its parts, have to know, in one place. `docs/limits.md` lists them for users.
 * Sizes are bytes and times milliseconds unless the name says otherwise.
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Bounds and defaults of function options. `min` and `max` are inclusive; `above` is exclusive. */
export const OPTION_LIMITS = {
  cpu: { above: 0, max: 16, default: 0.1 },
  memoryBytes: { min: 1, max: 64 * GIB, default: 256 * MIB },
  timeoutMs: { min: 1, max: DAY_MS, default: HOUR_MS },
  maxConcurrency: { min: 1, max: 1_000, default: 10 },
  maxRetries: { min: 0, max: 50, default: 0 },
  gracePeriodMs: { min: 0, max: 10 * MINUTE_MS, default: 2 * MINUTE_MS },
  /** 0 on the wire means unbounded, which TypeScript writes as Infinity. */
  maxInvocationsPerWorker: { min: 1, max: 1_000_000_000, default: 1 },
  workerConcurrency: { min: 1, max: 1_000, default: 1 },
  minWorkers: { min: 0, max: 100, default: 0 },
  idleTimeoutMs: { min: 0, max: HOUR_MS, default: MINUTE_MS },
  retryInitialMs: { min: 0, max: DAY_MS },
  retryFactor: { min: 1, max: 100, default: 2 },
  retryCeilingMs: { max: DAY_MS, default: 5 * MINUTE_MS },
  retryJitter: { min: 0, max: 1, default: 0.1 },
} as const;

export const LIMITS = {
  /** Longest project name, in characters. */
  projectNameLength: 64,
  /** Longest function name, in characters. */
  functionNameLength: 128,
  /** Longest idempotency key and request id, in characters. */
  idempotencyKeyLength: 128,
  /** How long an idempotency key and a request id are honoured. */
  idempotencyWindowMs: DAY_MS,
  /**
   * How long an invocation may be kept after its end, in days, where that is bounded. Longer than what `idempotencyWindowMs`
   * bounds is remembered: no start is answered with what is gone.
   */
  retentionDaysMin: 2,
  retentionDaysMax: 3_650,
  /** Longest ttl of an invocation. */
  ttlMs: 365 * DAY_MS,
  /** Longest display name of an API key, in characters. */
  apiKeyNameLength: 128,
  /** Shortest and longest life of an API key that expires. */
  apiKeyLifetimeMinMs: MINUTE_MS,
  apiKeyLifetimeMs: 3_650 * DAY_MS,

  /** Largest encoded input, yielded value or result, where nothing else is set, and what can be set. */
  payloadBytes: 250_000,
  payloadBytesMin: 1_000,
  payloadBytesMax: 4_000_000,
  /** How deep a value may be nested. */
  valueDepth: 500,
  /** Longest stored `error`, in characters, the mark of the cut included. */
  errorLength: 16_384,
  /** Largest JSON Schema of an input or output. */
  schemaBytes: 100_000,
  /**
   * Time of the processor that the check of one value by its schema may take; the same for a while after one value has taken too
   * long by this schema; and how long that is.
   */
  schemaCheckMs: 100,
  slowSchemaCheckMs: 10,
  slowSchemaMs: MINUTE_MS,
  /** Time of the processor to compile one schema, and all of a version. */
  schemaCompileMs: 500,
  versionCompileMs: 10 * SECOND_MS,

  /** Functions in a version. */
  functionsPerVersion: 500,
  /** Environment variables of a version, their number and their size. */
  environmentVariables: 500,
  environmentBytes: 100_000,
  /** Bundle: packed, unpacked, entries, and unpacked size over packed size. */
  bundleBytes: 50 * MIB,
  bundleUnpackedBytes: 500 * MIB,
  bundleEntries: 20_000,
  bundleRatio: 100,
  /** Bytes in one message of a bundle upload, and of a download. */
  uploadChunkBytes: MIB,
  downloadChunkBytes: 256 * KIB,

  /** How long `deploy` may take to import the code of a version. */
  deployImportMs: 10 * SECOND_MS,

  /**
   * What a worker in a container has: for its unpacked code and in `/tmp`, which both count as its memory; processes and threads,
   * and open files at once.
   */
  containerCodeBytes: 512 * MIB,
  containerTmpBytes: 64 * MIB,
  containerProcesses: 256,
  containerOpenFiles: 1_024,

  /** Build of an image: how long it may take, what is shown of its output in characters, and what each step may use. */
  imageBuildMs: 15 * MINUTE_MS,
  imageBuildOutputLength: MIB,
  imageBuildMemoryBytes: 2 * GIB,
  imageBuildCpus: 2,
  /** Builds of one scheduler: running, and in all. */
  imageBuildsAtOnce: 2,
  imageBuildsWaiting: 32,
  /** How long an image that no version uses is kept after it was last asked for. */
  imageGraceMs: 10 * MINUTE_MS,

  /** Items of a listing where none is asked for, and at most. */
  pageSize: 50,
  maxPageSize: 1_000,
  /** Encoded size at which a page ends, below the 4 MiB that clients of gRPC take where nothing else is set. */
  pageBytes: 3 * MIB,

  /** Starts in one batch, their number and their encoded size. */
  startsPerBatch: 1_000,
  startBatchBytes: 4 * MIB,
  /** Invocations of one function that may wait in its queue. */
  queueDepth: 1_000_000,
  /** How deep invocations may be nested: a parent at this depth starts no children. */
  nestingDepth: 64,
  /** Children that one invocation may have. */
  childrenPerInvocation: 100_000,

  /** Invocations that one watch stream follows, and targets in one message. */
  watchTargets: 100_000,
  watchTargetsPerMessage: 1_000,
  /** Encoded size at which a message to a watcher is closed. */
  watchMessageBytes: MIB,
  /** Longest silence on a watch or log stream, and the silence after which its reader looks for another replica. */
  heartbeatIntervalMs: 5 * SECOND_MS,
  silenceMs: 12.5 * SECOND_MS,

  /** Largest gRPC message, sent or received. */
  messageBytes: 8 * MIB,
  /** Largest request of a service that needs no key: health checking, and reflection. */
  openMessageBytes: 4 * KIB,
  /** Streams of these that are open. */
  openStreams: 100,
  /** Streams on one connection. */
  streamsPerConnection: 1_000,
  /**
   * After this time, more or less, calls go on on another connection, and streams to their end on the old one: the numbers
   * of a connection's calls end at 2^30, after which the library would let every call fail. Half a day has room for 24,000
   * a second.
   */
  connectionAgeMs: 12 * HOUR_MS,
  /** gRPC metadata of one call. */
  metadataBytes: 16 * KIB,
  /** How long after its headers the request of a call may take to be there as a whole, where it is one message. */
  requestArrivalMs: MINUTE_MS,
  /** Longest deadline that the SDK sets on one call. */
  callDeadlineMs: MINUTE_MS,
  /** How long the SDK waits for an answer before it asks another replica, where asking twice is safe. Then twice as long. */
  answerMs: 5 * SECOND_MS,

  /** Stored log of one execution, and one line of it, in characters. */
  logLinesPerExecution: 10_000,
  logBytesPerExecution: MIB,
  logLineLength: 16_384,

  /**
   * How long a lease lasts, how often it is renewed, how long after a renewal a scheduler still answers its workers, and how
   * long after the last answer a worker ends itself. The last two together are below the first: whatever is cut or stands
   * still, a worker is gone before the lease that its executions hang on is over and they are given to others.
   */
  leaseDurationMs: 30 * SECOND_MS,
  leaseDurationMinMs: 5 * SECOND_MS,
  leaseDurationMaxMs: 5 * MINUTE_MS,
  leaseRenewIntervalMs: 5 * SECOND_MS,
  leaseTrustMs: 9 * SECOND_MS,
  workerFenceMs: 20 * SECOND_MS,
  /** How often a worker says that it lives, and how long after the last answer it goes to another scheduler. */
  workerStatusIntervalMs: 5 * SECOND_MS,
  schedulerSilenceMs: 9 * SECOND_MS,
  /** A worker from which nothing came for this long is lost. */
  workerSilenceMs: 15 * SECOND_MS,
  /** A worker that has not connected this long after its runtime has started it is given up. */
  workerBootMs: 60 * SECOND_MS,
  /** How long the code of a version may take to load in a worker, until its first execution can begin. */
  codeLoadMs: 5 * MINUTE_MS,
  /** A worker that belongs to no scheduler for this long is stopped: longer than it takes to come to one, or to end itself. */
  workerOrphanMs: 25 * SECOND_MS,
  /** Queues of which a scheduler may want nothing when it leases, such as those whose image is not built yet. */
  excludedQueues: 10_000,
  /** Executions in one lease, and their encoded size. */
  executionsPerLease: 1_000,
  leaseBytes: 4 * MIB,
  /** What a scheduler may say with one request: of executions, of what they printed, and of workers that come to it. */
  reportsPerRequest: 5_000,
  logLinesPerRequest: 10_000,
  workersPerRequest: 1_000,

  /** How long other services remember what the registry resolved. A deployment and a deletion take so much longer. */
  resolveCacheMs: 100,
  /** The same in one process, where to ask is 4 % of a single call. */
  embeddedResolveCacheMs: 10,
  /** How long a revoked API key may still work on another service. */
  apiKeyCacheMs: 5 * SECOND_MS,
  /** Bound of a graceful stop. */
  gracefulStopMs: 20 * SECOND_MS,
  /** Functions that metrics tell apart. */
  metricsFunctions: 1_000,
} as const;

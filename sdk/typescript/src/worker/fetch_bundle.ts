import { setTimeout as delay } from "node:timers/promises";
import { FetchBundleRequest, FetchBundleResponse } from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../protocol/limits.js";
import { BundleIsDamagedError } from "./code_cache.js";
import { CallFailedError, GrpcCall } from "./grpc_call.js";

const FETCH_BUNDLE_PATH = "/multinode.scheduler.v1.WorkerService/FetchBundle";

const AGAIN_MS = 250;

/**
 * The bytes of a bundle, as the scheduler sends them. Rejects where it does not have it, or after a minute; one that is lost
 * meanwhile, or cannot reach the registry, is asked again.
 *
 * @param schedulerUrl where a scheduler is reached now
 */
export async function fetchBundle(schedulerUrl: () => string, workerToken: string, digest: string): Promise<Buffer> {
  const endsAt = performance.now() + LIMITS.callDeadlineMs;
  for (;;) {
    try {
      return await fetchOnce(schedulerUrl(), workerToken, digest, endsAt);
    } catch (error) {
      if (!(error instanceof CallFailedError) || !error.mayRepeat || performance.now() + AGAIN_MS > endsAt) throw error;
      await delay(AGAIN_MS);
    }
  }
}

function fetchOnce(schedulerUrl: string, workerToken: string, digest: string, endsAt: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let sizeBytes = 0;
    const settle = (error: Error | undefined): void => {
      clearTimeout(timer);
      call.close();
      if (error === undefined) resolve(Buffer.concat(chunks, sizeBytes));
      else reject(error);
    };
    // A proxy answers pings for a scheduler that stands still.
    const timer = setTimeout(
      () => settle(new CallFailedError("the scheduler did not send the bundle in time", true)),
      LIMITS.schedulerSilenceMs,
    );
    const call = new GrpcCall(schedulerUrl, FETCH_BUNDLE_PATH, workerToken, {
      onMessage: (bytes) => {
        const { chunk } = FetchBundleResponse.decode(bytes);
        timer.refresh();
        sizeBytes += chunk.byteLength;
        chunks.push(chunk);
        if (sizeBytes > LIMITS.bundleBytes) {
          settle(new BundleIsDamagedError(`the bundle is larger than ${LIMITS.bundleBytes} bytes`));
        } else if (performance.now() > endsAt) {
          settle(new CallFailedError("the bundle takes too long", false));
        }
      },
      onEnd: settle,
      onDrain: () => {},
    });
    call.send(FetchBundleRequest.encode({ digest }).finish());
    call.finishSending();
  });
}

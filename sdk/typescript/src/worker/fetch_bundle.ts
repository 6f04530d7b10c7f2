import { FetchBundleRequest, FetchBundleResponse } from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../protocol/limits.js";
import { BundleIsDamagedError } from "./code_cache.js";
import { CallFailedError, GrpcCall } from "./grpc_call.js";

const FETCH_BUNDLE_PATH = "/multinode.scheduler.v1.WorkerService/FetchBundle";

/** The bytes of a bundle, as the scheduler sends them. Rejects where it does not have it, or after a minute. */
export function fetchBundle(schedulerUrl: string, workerToken: string, digest: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let sizeBytes = 0;
    const settle = (error: Error | undefined): void => {
      clearTimeout(timer);
      call.close();
      if (error === undefined) resolve(Buffer.concat(chunks, sizeBytes));
      else reject(error);
    };
    const timer = setTimeout(
      () => settle(new CallFailedError("the scheduler did not send the bundle in time")),
      LIMITS.callDeadlineMs,
    );
    const call = new GrpcCall(schedulerUrl, FETCH_BUNDLE_PATH, workerToken, {
      onMessage: (bytes) => {
        const { chunk } = FetchBundleResponse.decode(bytes);
        sizeBytes += chunk.byteLength;
        chunks.push(chunk);
        if (sizeBytes > LIMITS.bundleBytes) {
          settle(new BundleIsDamagedError(`the bundle is larger than ${LIMITS.bundleBytes} bytes`));
        }
      },
      onEnd: settle,
      onDrain: () => {},
    });
    call.send(FetchBundleRequest.encode({ digest }).finish());
    call.finishSending();
  });
}

/** How statuses and causes are stored: as the numbers of the contract, so that a row can be read beside it. */
import { Outcome as WireOutcome, Status as WireStatus } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import type { InterruptCause, LifeStatus, Outcome } from "../domain/life.js";

export const STATUS_CODE: Record<LifeStatus, WireStatus> = {
  PENDING: WireStatus.PENDING,
  RUNNING: WireStatus.RUNNING,
  CANCELLING: WireStatus.CANCELLING,
  SUCCEEDED: WireStatus.SUCCEEDED,
  FAILED: WireStatus.FAILED,
  CANCELLED: WireStatus.CANCELLED,
  TIMED_OUT: WireStatus.TIMED_OUT,
};

export const OUTCOME_CODE: Record<Outcome, WireOutcome> = {
  SUCCEEDED: WireOutcome.SUCCEEDED,
  FAILED: WireOutcome.FAILED,
  ABORTED: WireOutcome.ABORTED,
};

export const INTERRUPT_CODE: Record<InterruptCause, number> = { CANCELLED: 1, TIMED_OUT: 2 };

/** First code of a finished status; all later ones are finished too. */
export const FIRST_FINISHED_CODE = STATUS_CODE.SUCCEEDED;

const STATUS_OF = inverse(STATUS_CODE);
const OUTCOME_OF = inverse(OUTCOME_CODE);
const INTERRUPT_OF = inverse(INTERRUPT_CODE);

export function statusOf(code: number): LifeStatus {
  return known(STATUS_OF, code);
}

export function outcomeOf(code: number): Outcome {
  return known(OUTCOME_OF, code);
}

export function interruptOf(code: number): InterruptCause {
  return known(INTERRUPT_OF, code);
}

function inverse<T extends string>(codes: Record<T, number>): ReadonlyMap<number, T> {
  return new Map(Object.entries(codes).map(([name, code]) => [code as number, name as T]));
}

function known<T>(names: ReadonlyMap<number, T>, code: number): T {
  const name = names.get(code);
  if (name === undefined) throw new Error(`the store holds the unknown code ${code}`);
  return name;
}

/** The judgement of all that a chaos test has seen. */
import { checkHistory } from "./checker.js";
import type { History } from "./history.js";
import { checkJournal, readJournal } from "./journal.js";

/** Tells how the invocations ended, and answers the complaints. */
export function judge(history: History, journal: string, tell: (line: string) => void): string[] {
  const sightings = history.events.flatMap((event) => (event.type === "seen" ? [event.invocation] : []));
  const detailed = sightings.filter(({ executions }) => executions !== undefined);
  const last = [...new Map(detailed.map((invocation) => [invocation.id, invocation])).values()];
  const counts = new Map<string, number>();
  for (const { status } of last) counts.set(status, (counts.get(status) ?? 0) + 1);
  const lost = last.flatMap(({ executions = [] }) => executions).filter(({ error }) => error?.startsWith("WorkerLost"));
  const ends = [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
  tell(`${last.length} invocations: ${ends}; ${lost.length} attempts lost their worker`);
  return [...checkHistory(history.events), ...checkJournal(readJournal(journal), last)];
}

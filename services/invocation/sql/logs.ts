/** Lines that executions printed. */
import { placeholders, type ReadTransaction, type WriteTransaction } from "../../platform/store/db.js";
import type { LogLineRow, LogState } from "../store.js";

export async function appendLogs(tx: WriteTransaction, lines: readonly LogLineRow[]): Promise<void> {
  await tx.runMany(
    `INSERT INTO log_lines (execution_id, line_number, time_ms, stream, level, text, printed)
     VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (execution_id, line_number) DO NOTHING`,
    lines.map(({ executionId, lineNumber, timeMs, stream, level, text, printed }) => [
      executionId,
      lineNumber,
      timeMs,
      stream,
      level,
      text,
      printed,
    ]),
  );
}

export async function loadLogs(
  tx: ReadTransaction,
  executionId: string,
  afterLine: number,
  atMost: number,
): Promise<LogLineRow[]> {
  return await tx.all<LogLineRow>(
    `SELECT execution_id AS "executionId", line_number AS "lineNumber", time_ms AS "timeMs", stream, level, text, printed
     FROM log_lines WHERE execution_id = ? AND line_number > ? ORDER BY line_number LIMIT ?`,
    executionId,
    afterLine,
    atMost,
  );
}

export async function logStates(tx: ReadTransaction, executionIds: readonly string[]): Promise<LogState[]> {
  if (executionIds.length === 0) return [];
  return await tx.all<LogState>(
    `SELECT execution_id AS "executionId", MAX(line_number) AS "lastLine", SUM(printed) AS "printedLines"
     FROM log_lines WHERE execution_id IN (${placeholders(executionIds.length)}) GROUP BY execution_id`,
    ...executionIds,
  );
}

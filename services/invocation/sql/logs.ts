/** Lines that executions printed. */
import type { ReadTransaction, WriteTransaction } from "../../platform/store/db.js";
import type { LogLineRow } from "../store.js";

export async function appendLogs(tx: WriteTransaction, lines: readonly LogLineRow[]): Promise<void> {
  await tx.runMany(
    `INSERT INTO log_lines (execution_id, line_number, time_ms, stream, level, text)
     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (execution_id, line_number) DO NOTHING`,
    lines.map((line) => [line.executionId, line.lineNumber, line.timeMs, line.stream, line.level, line.text]),
  );
}

export async function loadLogs(
  tx: ReadTransaction,
  executionId: string,
  afterLine: number,
  atMost: number,
): Promise<LogLineRow[]> {
  return await tx.all<LogLineRow>(
    `SELECT execution_id AS "executionId", line_number AS "lineNumber", time_ms AS "timeMs", stream, level, text
     FROM log_lines WHERE execution_id = ? AND line_number > ? ORDER BY line_number LIMIT ?`,
    executionId,
    afterLine,
    atMost,
  );
}

import type { AuditedRecord } from '@spillway/server/audit/audit-reader';

/** A record as a line of JSON: as the tap wrote it, or what is known of one that is gone. */
export function recordLine({ atMs, isErased, kind, seq, stream, value }: AuditedRecord): string {
  if (value !== undefined) return Buffer.from(value).toString();
  const why = isErased ? { erased: true } : { damaged: true };
  return JSON.stringify({ v: 1, stream, seq, at: atMs, kind, ...why });
}

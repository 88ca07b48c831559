import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';

/**
 * How long the last push of metrics and spans may take. The exporters' own deadlines are longer than
 * supervisors wait before they kill a process.
 */
const maxPushMs = 3000;

/** Closes what pushes metrics and spans, with the last of them. Never rejects: what was not taken is a line of the log. */
export async function pushLast(
  pushing: readonly ({ close(): Promise<void> } | undefined)[],
  log: Pick<Logger, 'warn'>,
): Promise<void> {
  const pushed = Promise.allSettled(pushing.map(async (each) => await each?.close()));
  const late = { status: 'rejected', reason: `It was not taken within ${maxPushMs} ms.` } as const;
  for (const closed of await Promise.race([pushed, sleep(maxPushMs, [late], { ref: false })])) {
    if (closed.status === 'rejected') log.warn({ reason: String(closed.reason) }, 'telemetry is incomplete');
  }
}

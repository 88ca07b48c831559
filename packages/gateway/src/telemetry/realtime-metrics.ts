import type { Meter as Instruments } from '@opentelemetry/api';
import type { DirectionFigures, RealtimeEndReason, RealtimeSide } from './realtime-end.ts';

/** Conversations, as metrics read them. */
export interface MeteredRealtime {
  readonly size: number;
  readonly ended: Readonly<Record<RealtimeEndReason, number>>;
  /** What has gone to each side, of the conversations that are over too, and the most that waits for one there. */
  readonly totals: Readonly<Record<RealtimeSide, DirectionFigures & { readonly maxWaitingBytes: number }>>;
}

/** Defines the figures of relayed conversations. All are read at once. */
export function defineRealtimeMetrics(instruments: Instruments, read: () => MeteredRealtime): void {
  const sessions = instruments.createObservableGauge('spillway.realtime.sessions', {
    unit: '{session}',
    description: 'Realtime conversations that run',
  });
  const ended = instruments.createObservableCounter('spillway.realtime.sessions.ended', {
    unit: '{session}',
    description: 'Realtime conversations that ended, by the reason',
  });
  const messages = instruments.createObservableCounter('spillway.realtime.messages', {
    unit: '{message}',
    description: 'Messages of realtime conversations, by the side that they were relayed to',
  });
  const bytes = instruments.createObservableCounter('spillway.realtime.relayed', {
    unit: 'By',
    description: 'Bytes of these messages',
  });
  const pauses = instruments.createObservableCounter('spillway.realtime.pauses', {
    unit: '{pause}',
    description: 'How often the other side was not read because too much waited for this one',
  });
  const paused = instruments.createObservableCounter('spillway.realtime.paused', {
    unit: 's',
    description: 'How long the other side was not read because too much waited for this one',
  });
  const buffered = instruments.createObservableGauge('spillway.realtime.buffered.max', {
    unit: 'By',
    description:
      'Bytes that wait for one side of the conversation that has most, in the gateway and in its kernel',
  });
  instruments.addBatchObservableCallback(
    (result) => {
      const { size, totals, ended: over } = read();
      result.observe(sessions, size);
      for (const [reason, count] of Object.entries(over)) result.observe(ended, count, { reason });
      for (const [to, total] of Object.entries(totals)) {
        result.observe(messages, total.messages, { to });
        result.observe(bytes, total.bytes, { to });
        result.observe(pauses, total.pauses, { to });
        result.observe(paused, total.pausedMs / 1000, { to });
        result.observe(buffered, total.maxWaitingBytes, { to });
      }
    },
    [sessions, ended, messages, bytes, pauses, paused, buffered],
  );
}

import type { Attributes, Meter as Instruments, Observable } from '@opentelemetry/api';
import type { TapSpill, TapState } from '@spillway/server/tap/tap-state';

/** Unit, description, and how to read the number; `undefined`: this tap has none. */
type Figure = readonly [string, string, (tap: TapState) => number | undefined];

const gauges: Readonly<Record<string, Figure>> = {
  'spillway.tap.up': [
    '',
    'Whether the last write of a tap was kept (1) or failed (0)',
    ({ isUp }) => (isUp ? 1 : 0),
  ],
  'spillway.tap.lag.records': [
    '{record}',
    'Records and chunks that wait for a tap or are being written; merged chunks count as one',
    ({ lag }) => lag.records,
  ],
  'spillway.tap.lag.bytes': ['By', 'Bytes of these', ({ lag }) => lag.bytes],
  'spillway.tap.lag.time': ['s', 'How long the oldest of these has waited', ({ lag }) => lag.ms / 1000],
  'spillway.tap.shedding': [
    '',
    'Whether a tap leaves parts out of its records at the moment, because it lags (1) or not (0)',
    ({ isShedding }) => (isShedding ? 1 : 0),
  ],
  'spillway.tap.head': [
    '{record}',
    'Records in the chain that the audit log of a tap writes at the moment',
    ({ head }) => head?.count,
  ],
  'spillway.tap.dead_letter.bytes': [
    'By',
    'Bytes of the file with what the engine of a tap refused for ever',
    ({ deadLetters }) => deadLetters?.bytes,
  ],
  'spillway.tap.dead_letter.max_bytes': [
    'By',
    'Bytes that this file may have',
    ({ deadLetters }) => deadLetters?.maxBytes,
  ],
};

const counters: Readonly<Record<string, Figure>> = {
  'spillway.tap.records': ['{record}', 'Records that a tap has kept', ({ records }) => records],
  'spillway.tap.bytes': ['By', 'Bytes of these', ({ bytes }) => bytes],
  'spillway.tap.lost': [
    '{chunk}',
    'Chunks, ends of readers, and spilled or refused records that a tap has not kept; records of gaps say which chunks',
    ({ lost }) => lost,
  ],
  'spillway.tap.forgotten': [
    '{time}',
    'Times that what a tap writes to was found without records that it had acknowledged',
    ({ forgotten }) => forgotten,
  ],
  'spillway.tap.dead_letters': [
    '{record}',
    'Records that the engine of a tap refused for ever, and that are in the file for them',
    ({ deadLetters }) => deadLetters?.records,
  ],
  'spillway.tap.redacted': [
    '{place}',
    'Places in content that a tap has replaced before it was kept',
    ({ redacted }) => redacted,
  ],
  'spillway.tap.wait.time': [
    's',
    'How long the oldest record of each write had waited until it was kept, the sum of all writes',
    ({ waitedMs }) => waitedMs / 1000,
  ],
};

/** Figures of taps that spill. */
const spillGauges: Readonly<Record<string, readonly [string, string, (spill: TapSpill) => number]>> = {
  'spillway.tap.spill.records': [
    '{record}',
    'Records that a tap has put on the disk, until what it writes to takes them',
    ({ records }) => records,
  ],
  'spillway.tap.spill.engine.up': [
    '',
    'Whether what a tap writes to behind its spill has taken its last write (1) or not (0)',
    ({ isEngineUp }) => (isEngineUp ? 1 : 0),
  ],
  'spillway.tap.spill.bytes': ['By', 'Bytes of these on the disk', ({ bytes }) => bytes],
  'spillway.tap.spill.max_bytes': ['By', 'Bytes that a tap may put on the disk', ({ maxBytes }) => maxBytes],
};

/**
 * Defines the figures of taps, by the name of the tap; a reload may bring some. All are read at once, by one look at all taps.
 */
export function defineTapMetrics(instruments: Instruments, taps: () => readonly TapState[]): void {
  const figures: (readonly [Observable, Figure[2]])[] = [];
  for (const [name, [unit, description, read]] of Object.entries(gauges))
    figures.push([instruments.createObservableGauge(name, { unit, description }), read]);
  for (const [name, [unit, description, read]] of Object.entries(counters))
    figures.push([instruments.createObservableCounter(name, { unit, description }), read]);
  for (const [name, [unit, description, read]] of Object.entries(spillGauges)) {
    const ofSpill = ({ spill }: TapState): number | undefined => spill && read(spill);
    figures.push([instruments.createObservableGauge(name, { unit, description }), ofSpill]);
  }
  const writes = instruments.createObservableCounter('spillway.tap.writes', {
    unit: '{write}',
    description: 'Writes of a tap; one that failed is tried again',
  });
  const groupRecords = instruments.createObservableGauge('spillway.tap.group.lag.records', {
    unit: '{record}',
    description: 'What a group of readers of the engine of a tap has not acknowledged',
  });
  const groupKnown = instruments.createObservableGauge('spillway.tap.group.lag.known', {
    description:
      'Whether it is known how far a group of readers of the engine of a tap is behind (1) or not (0)',
  });
  const groupTime = instruments.createObservableGauge('spillway.tap.group.lag.time', {
    unit: 's',
    description: 'How long ago the oldest of these was written, where the engine can tell',
  });
  instruments.addBatchObservableCallback(
    (result) => {
      for (const tap of taps()) {
        const attributes: Attributes = { tap: tap.name };
        for (const [figure, read] of figures) {
          const value = read(tap);
          if (value !== undefined) result.observe(figure, value, attributes);
        }
        result.observe(writes, tap.writes, { ...attributes, result: 'kept' });
        result.observe(writes, tap.failures, { ...attributes, result: 'failed' });
        for (const { entries, group, ms } of tap.groups) {
          result.observe(groupKnown, entries === undefined ? 0 : 1, { ...attributes, group });
          if (entries !== undefined) result.observe(groupRecords, entries, { ...attributes, group });
          if (ms !== undefined) result.observe(groupTime, ms / 1000, { ...attributes, group });
        }
      }
    },
    [writes, groupKnown, groupRecords, groupTime, ...figures.map(([figure]) => figure)],
  );
}

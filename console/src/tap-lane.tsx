import type { JSX } from 'preact';
import type { StreamDetail, TapLane } from '../../packages/server/src/console/snapshot.ts';
import { longHoldMs } from './causes.ts';
import { Meter } from './meter.tsx';
import { Lane, type LagSample, type TimeSpan } from './reader-lane.tsx';
import { bytesText, countText, durationText } from './units.ts';

/** How far a tap is in a stream, beside the stream's readers. */
export function TapRowView({
  tap,
  heldMs,
  ...lane
}: {
  readonly tap: TapLane;
  /** How long readers have waited for taps. */
  readonly heldMs: number;
  readonly samples: readonly LagSample[];
  readonly span: TimeSpan;
  readonly widthPx: number;
  readonly pointedMs: number | undefined;
  readonly onPoint: (atMs: number | undefined) => void;
}): JSX.Element {
  const { gates, keptOffset, lagBytes, maxLagBytes, name, nextOffset } = tap;
  const why = whyOf(tap, heldMs);
  const text = `${bytesText(lagBytes)} of ${bytesText(maxLagBytes)}`;
  return (
    <div class="lane-row" data-level={why === '' ? 'ok' : 'bad'}>
      <div class="lane-head">
        <span>
          <b>Tap</b> <a href="#/taps">{name}</a>
          {gates && ', gate'}
        </span>
        <div class="why">{why}</div>
        <Meter label={`Lag of the tap ${name}`} value={lagBytes} max={maxLagBytes} text={text} />
        <div>{text}</div>
        {keptOffset !== null && (
          <div class="sub">
            {countText(keptOffset)} of {countText(nextOffset)} chunks kept
          </div>
        )}
      </div>
      <div class="lane-box">
        <Lane label={`Tap ${name}`} {...lane} events={[]} maxLagBytes={maxLagBytes} />
      </div>
    </div>
  );
}

/** How long the reader that has waited longest has waited for taps. */
export function heldMsOf({ stream }: StreamDetail): number {
  return stream.readers.reduce(
    (most, { lagMs, waitsFor }) => (waitsFor === 'tap' ? Math.max(most, lagMs) : most),
    0,
  );
}

/** Whom the tap holds up for longer than it has to; empty: nobody. */
function whyOf({ holdsModel, holdsReaders }: TapLane, heldMs: number): string {
  if (holdsModel) return 'The model waits for it.';
  if (!holdsReaders || heldMs < longHoldMs) return '';
  return `Readers have waited for it for ${durationText(heldMs)}.`;
}

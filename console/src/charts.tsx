import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { Totals } from '../../packages/server/src/console/snapshot.ts';
import { causes, causeTexts } from './causes.ts';
import { Chart } from './chart.tsx';
import { overAMinute, rates } from './history.ts';
import { narrowQuery } from './media.ts';
import { bytesText, countText, durationText, rateText } from './units.ts';

const dashed = [5, 3];
const dotted = [2, 3];
// A budget that is further away would press the lines flat.
const budgetWithin = 5;

/** Ten minutes of the gateway. */
export function Charts({
  history,
  startedAtMs,
}: {
  readonly history: readonly Totals[];
  readonly startedAtMs: number;
}): JSX.Element {
  const columns = useMemo(() => columnsOf(history, startedAtMs), [history, startedAtMs]);
  const { times } = columns;
  // On a phone the streams would be far below them.
  const [isNarrow] = useState(() => matchMedia(narrowQuery).matches);
  return (
    <details class="history" open={!isNarrow}>
      <summary>
        <h2>The last ten minutes</h2>
      </summary>
      <div class="charts">
        <Chart title="Tokens a second" times={times} lines={columns.tokens} format={rateText} leastTop={10} />
        <Chart
          title="Memory"
          times={times}
          lines={columns.memory}
          format={bytesText}
          isBinary
          leastTop={65_536}
        />
        <Chart
          title="Models that wait, by cause"
          times={times}
          lines={columns.stalls}
          isStacked
          format={rateText}
          leastTop={1}
        />
        <Chart
          title="Time to first token"
          times={times}
          lines={columns.ttft}
          spansGaps
          format={durationText}
          leastTop={200}
        />
        <Chart
          title="Event loop delay"
          times={times}
          lines={columns.loop}
          format={durationText}
          leastTop={50}
        />
        <Chart
          title="Streams that ended in the minute before"
          times={times}
          lines={columns.ended}
          isStacked
          format={countText}
          leastTop={6}
        />
      </div>
    </details>
  );
}

function columnsOf(history: readonly Totals[], startedAtMs: number) {
  const heldMost = Math.max(0, ...history.map(({ heldBytes }) => heldBytes));
  const budget = history.at(-1)?.heldLimitBytes ?? 0;
  const limits = { label: 'budget', color: 'bad', dash: dashed, values: history.map(() => budget) };
  return {
    times: history.map(({ atMs }) => atMs / 1000),
    tokens: [
      {
        label: 'in',
        color: 'in',
        isFilled: true,
        values: rates(history, (totals) => totals.tokensGenerated),
      },
      {
        label: 'out',
        color: 'out',
        dash: dashed,
        values: rates(history, (totals) => totals.tokensDelivered),
      },
    ],
    memory: [
      { label: 'held', color: 'held', values: history.map(({ heldBytes }) => heldBytes) },
      {
        label: 'waiting',
        color: 'in',
        isFilled: true,
        values: history.map(({ waitingBytes }) => waitingBytes),
      },
      ...(heldMost * budgetWithin >= budget && budget > 0 ? [limits] : []),
    ],
    stalls: causes.map((cause) => ({
      label: causeTexts[cause].short,
      color: `cause-${cause}`,
      // Milliseconds of waiting a second, over 1000: how many models wait at a time.
      values: rates(history, ({ stallMs }) => stallMs[cause] / 1000),
    })),
    ttft: [
      { label: 'p50', color: 'in', values: history.map(({ ttftMs }) => ttftMs?.p50 ?? null) },
      { label: 'p99', color: 'held', dash: dotted, values: history.map(({ ttftMs }) => ttftMs?.p99 ?? null) },
    ],
    loop: [
      { label: 'p50', color: 'in', values: history.map(({ loopDelayMs }) => loopDelayMs.p50) },
      {
        label: 'p99',
        color: 'held',
        dash: dotted,
        values: history.map(({ loopDelayMs }) => loopDelayMs.p99),
      },
    ],
    ended: (['failed', 'cancelled', 'completed'] as const).map((state) => ({
      label: state,
      color: `end-${state}`,
      values: overAMinute(history, startedAtMs, ({ ended }) => ended[state]),
    })),
  };
}

import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { Totals } from '../../packages/server/src/console/snapshot.ts';
import { causes, causeTexts } from './causes.ts';
import { Chart } from './chart.tsx';
import { rates } from './history.ts';
import { narrowQuery } from './media.ts';
import { bytesText, durationText, rateText } from './units.ts';

const dashed = [5, 3];
const dotted = [2, 3];
// A budget that is further away would press the lines flat.
const budgetWithin = 5;

/** Ten minutes of the gateway. */
export function Charts({ history }: { readonly history: readonly Totals[] }): JSX.Element {
  const columns = useMemo(() => columnsOf(history), [history]);
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
          format={(value) => value.toFixed(value < 10 ? 1 : 0)}
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
          title="Streams that ended, a minute"
          times={times}
          lines={columns.ended}
          isStacked
          format={rateText}
          leastTop={6}
        />
      </div>
    </details>
  );
}

function columnsOf(history: readonly Totals[]) {
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
      values: overTenSeconds(history, ({ ended }) => ended[state]),
    })),
  };
}

/** Ends are rare: what a minute would have if it went on like the last ten seconds. */
function overTenSeconds(history: readonly Totals[], counter: (totals: Totals) => number): (number | null)[] {
  let from = 0;
  return history.map((totals, at) => {
    while (from < at && (history[from]?.atMs ?? 0) < totals.atMs - 10_000) from += 1;
    const before = history[from];
    if (before === undefined || totals.atMs - before.atMs < 5000) return null;
    const grown = counter(totals) - counter(before);
    return grown < 0 ? null : (grown * 60_000) / (totals.atMs - before.atMs);
  });
}

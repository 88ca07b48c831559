import type { JSX } from 'preact';
import type { ModelTrace } from './model-trace.ts';
import type { Stretch } from './run-reader.ts';

/** The whole reply as one line: what a reader has, what it lost, what waits for it, and what is not made yet. */
export function Track({
  label,
  total,
  made,
  stretches,
  trace,
}: {
  readonly label: string;
  readonly total: number;
  readonly made: number;
  readonly stretches: readonly Stretch[];
  /** Turns offsets into tokens; without one they are tokens. */
  readonly trace?: ModelTrace;
}): JSX.Element {
  const tokensAt = (offset: number): number => trace?.tokensAt(offset) ?? offset;
  const percent = (tokens: number): number => Math.min(100, (tokens / Math.max(1, total)) * 100);
  return (
    <svg class="track" width="100%" height="22" role="img" aria-label={label}>
      <rect class="made" width={`${percent(made)}%`} height="22" />
      {stretches.map(({ from, kind, to }) => {
        const left = percent(tokensAt(from));
        const width = percent(tokensAt(to)) - left;
        if (width <= 0) return null;
        return (
          <g key={from}>
            <rect class={kind} x={`${left}%`} width={`${width}%`} height="22" />
            {kind === 'lost' && <rect class="scar" x={`${left}%`} width={`${width}%`} y="8" height="6" />}
          </g>
        );
      })}
      <line class="front" x1={`${percent(made)}%`} x2={`${percent(made)}%`} y1="0" y2="22" />
    </svg>
  );
}

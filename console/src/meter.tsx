import type { JSX } from 'preact';

/** A bar against its bound. What it says is in its text, too: colour and length are never alone. */
export function Meter({
  label,
  value,
  max,
  text,
  inner,
  isCalm = false,
}: {
  readonly label: string;
  readonly value: number;
  readonly max: number;
  readonly text: string;
  /** A part of the value that is shown darker. */
  readonly inner?: number;
  /** Whether it may be full without that being trouble. */
  readonly isCalm?: boolean;
}): JSX.Element {
  const ratio = max > 0 ? Math.min(1, value / max) : 0;
  return (
    <div
      class="meter"
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={Math.max(max, 1)}
      aria-valuenow={Math.min(value, Math.max(max, 1))}
      aria-valuetext={text}
      data-level={isCalm ? 'ok' : levelOf(ratio)}
    >
      <span style={{ transform: `scaleX(${ratio})` }} />
      {inner !== undefined && max > 0 && (
        <span class="inner" style={{ transform: `scaleX(${Math.min(1, inner / max)})` }} />
      )}
    </div>
  );
}

/** More than half is what the gateway counts as lagging. */
function levelOf(ratio: number): 'bad' | 'ok' | 'warn' {
  if (ratio > 0.9) return 'bad';
  return ratio > 0.5 ? 'warn' : 'ok';
}

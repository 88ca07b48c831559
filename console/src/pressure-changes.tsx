import type { JSX } from 'preact';
import type { PressureChange } from '../../packages/server/src/console/snapshot.ts';
import { pressureTexts } from './causes.ts';
import { clockText, durationText } from './units.ts';

/** When the pressure rose and fell, and why; the latest first. */
export function PressureChanges({
  changes,
}: {
  readonly changes: readonly PressureChange[];
}): JSX.Element | null {
  if (changes.length === 0) return null;
  return (
    <details class="panel events">
      <summary>
        <h2>Pressure that rose and fell</h2>
      </summary>
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Level</th>
            <th scope="col">Because</th>
          </tr>
        </thead>
        <tbody>
          {changes.toReversed().map((change) => (
            <tr key={change.atMs}>
              <td>{clockText(change.atMs)}</td>
              <td>{`${change.from} → ${change.level}`}</td>
              <td>
                {change.level > change.from ? pressureTexts[change.cause] : 'less than that was enough'}
                <span class="detail">{valueText(change)}</span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

/** What was measured of the cause. */
function valueText({ cause, value }: PressureChange): string {
  if (cause === 'loop_delay') return durationText(value);
  if (cause === 'provider_latency') return `${value.toFixed(1)} times as long as without load`;
  const percent = `${Math.round(Math.min(value, 1) * 100)} %`;
  return value > 1 ? `${percent}, and ${Math.round((value - 1) * 100)} % of the queue` : percent;
}

import type { JSX } from 'preact';
import type { StreamEvent } from '../../packages/server/src/console/snapshot.ts';
import { eventTexts } from './reader-lane.tsx';
import { clockText, durationText, plural } from './units.ts';

/** What happened, the latest first. */
export function StreamEvents({
  events,
  openedAtMs,
}: {
  readonly events: readonly StreamEvent[];
  readonly openedAtMs: number;
}): JSX.Element {
  return (
    <section class="panel events" aria-labelledby="events-heading">
      <h2 id="events-heading">What happened</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col" class="number">
              After
            </th>
            <th scope="col">Who</th>
            <th scope="col">What</th>
          </tr>
        </thead>
        <tbody>
          {folded(events).map(({ count, event }, at) => (
            <tr key={events.length - at}>
              <td>{clockText(event.atMs)}</td>
              <td class="number">{durationText(Math.max(0, event.atMs - openedAtMs))}</td>
              <td>{event.reader === null ? 'stream' : `reader ${event.reader}`}</td>
              <td>
                {count === 1
                  ? eventTexts[event.type]
                  : `${plural(count, eventTexts[event.type])}, the latest`}
                {event.detail !== '' && <span class="detail">{event.detail}</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The latest first; gaps of one reader that follow each other are one line. */
function folded(
  events: readonly StreamEvent[],
): readonly { readonly event: StreamEvent; readonly count: number }[] {
  const lines: { readonly event: StreamEvent; count: number }[] = [];
  for (const event of events.toReversed()) {
    const last = lines.at(-1);
    if (event.type === 'gap' && last?.event.type === 'gap' && last.event.reader === event.reader)
      last.count += 1;
    else lines.push({ event, count: 1 });
  }
  return lines;
}

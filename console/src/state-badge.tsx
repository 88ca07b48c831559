import type { JSX } from 'preact';
import type { StreamCondition } from '../../packages/server/src/console/snapshot.ts';

const signs: Readonly<Record<StreamCondition, string>> = {
  waiting: '◌',
  opening: '○',
  streaming: '▶',
  paused: '❚❚',
  completed: '✓',
  cancelled: '■',
  failed: '✕',
};

/** How a stream is: a sign, a word and a colour. */
export function StateBadge({ condition }: { readonly condition: StreamCondition }): JSX.Element {
  return (
    <span class="state" data-state={condition}>
      <span aria-hidden="true">{signs[condition]}</span> {condition}
    </span>
  );
}

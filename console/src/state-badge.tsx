import type { JSX } from 'preact';
import type { StreamCondition } from '../../packages/server/src/console/snapshot.ts';
import { conditionTexts } from './conditions.ts';

/** How a stream is: a sign, a word and a colour. */
export function StateBadge({ condition }: { readonly condition: StreamCondition }): JSX.Element {
  const { hint, label, sign } = conditionTexts[condition];
  return (
    <span class="state" data-state={condition} title={hint}>
      <span aria-hidden="true">{sign}</span> {label}
    </span>
  );
}

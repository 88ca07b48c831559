import type { StreamCondition } from '../../packages/server/src/console/snapshot.ts';

interface ConditionText {
  readonly sign: string;
  /** One word for it everywhere on the page. `paused` is a word for readers: a stream whose model waits is stalled. */
  readonly label: string;
  readonly hint: string;
}

/** Where a stream stands, for people. */
export const conditionTexts: Readonly<Record<StreamCondition, ConditionText>> = {
  waiting: {
    sign: '◌',
    label: 'queued',
    hint: 'the request waits for a free place (maxStreams), of the gateway or of its provider',
  },
  opening: { sign: '○', label: 'opening', hint: 'the provider has not answered yet' },
  streaming: { sign: '▶', label: 'streaming', hint: 'the model is read' },
  paused: { sign: '❚❚', label: 'stalled', hint: 'the model is made to wait for its slowest reader' },
  draining: { sign: '▽', label: 'draining', hint: 'the model is done, and a reader still needs the rest' },
  completed: { sign: '✓', label: 'completed', hint: 'all of it came, with the provider’s own end' },
  cancelled: { sign: '■', label: 'cancelled', hint: 'it was stopped on purpose' },
  failed: { sign: '✕', label: 'failed', hint: 'it ended with an error' },
};

/** Open streams, in the order in which they are told. */
export const openConditions = ['streaming', 'paused', 'opening', 'draining', 'waiting'] as const;
export const endStates = ['failed', 'cancelled', 'completed'] as const;

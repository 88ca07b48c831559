import type { ModelGateRow } from '../../packages/gateway/src/telemetry/providers-snapshot.ts';

/** Whether a model of a provider is asked. */
type Standing = 'asked' | 'broken' | 'paused' | 'tried';

interface StandingText {
  readonly sign: string;
  readonly label: string;
  readonly hint: string;
  readonly level: 'bad' | 'ok' | 'warn';
  /** The state of a stream that has the same colour. */
  readonly state: 'completed' | 'failed' | 'paused';
}

export const breakerTexts: Readonly<Record<Standing, StandingText>> = {
  asked: {
    sign: '●',
    label: 'asked',
    hint: 'Requests for it are sent.',
    level: 'ok',
    state: 'completed',
  },
  broken: {
    sign: '✕',
    label: 'not asked',
    hint: 'It fails too often. After this time a few requests try whether it is well again.',
    level: 'bad',
    state: 'failed',
  },
  paused: {
    sign: '❚❚',
    label: 'left alone',
    hint: 'It asks for that: by its Retry-After, or by headers that say that nothing is left of a rate limit.',
    level: 'warn',
    state: 'paused',
  },
  tried: {
    sign: '◐',
    label: 'tried again',
    hint: 'At most three requests at a time try it. When three have succeeded, it is asked as before; one that fails begins the time anew.',
    level: 'warn',
    state: 'paused',
  },
};

/** How a model stands. An open breaker whose time is over waits for a request that tries. */
export function standingOf({ breaker, closedMs, isPaused }: ModelGateRow): Standing {
  if (isPaused) return 'paused';
  if (breaker === 'half-open' || (breaker === 'open' && closedMs === 0)) return 'tried';
  return breaker === 'open' ? 'broken' : 'asked';
}

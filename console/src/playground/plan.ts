import type { Overflow } from '@spillway/core';

/** What a reader may ask for over a session. */
export const policies = [
  'coalesce',
  'block',
  'drop-oldest',
  'drop-newest',
  'latest',
  'disconnect',
] as const satisfies readonly Overflow[];
export type Policy = (typeof policies)[number];

/** One sentence each. */
export const policyTexts: Readonly<Record<Policy, string>> = {
  coalesce:
    'What waits is merged: every character comes, in fewer and larger events. If that is not enough, the model waits.',
  block: 'The model waits for it: nothing is lost, and everybody else waits, too.',
  'drop-oldest': 'What has waited longest is left out, and a gap says what is missing.',
  'drop-newest': 'What comes while it is full is left out, and a gap says what is missing.',
  latest: 'It skips to the newest: always fresh, and a gap says what is missing.',
  disconnect: 'It is ended when it is full, and may come back to where it was.',
};

export const faults = ['none', 'slow first token', 'stall', 'error', 'cut'] as const;
export type Fault = (typeof faults)[number];

export const faultTexts: Readonly<Record<Fault, string>> = {
  none: 'none',
  'slow first token': 'first token after 3 s',
  stall: 'stops half way',
  error: 'error half way',
  cut: 'connection cut half way',
};

/** A model, and what may wait for each of its readers. */
export interface Plan {
  readonly tokensPerSecond: number;
  readonly tokens: number;
  readonly fault: Fault;
  /** What may wait in the gateway for each reader. */
  readonly maxBytes: number;
}

export interface ReaderPlan {
  readonly name: string;
  readonly policy: Policy;
  /** How fast it reads; 0: not at all. */
  readonly eventsPerSecond: number;
}

/** The least that a gateway lets wait for a reader. */
export const boundsBytes = [1024, 2048, 4096, 8192, 16_384] as const;

/** Steps of the sliders, so that slow and fast are both in reach. */
export const readingSpeeds = [0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, Infinity] as const;
export const modelSpeeds = [5, 10, 20, 30, 50, 80, 120, 200] as const;
export const lengths = [50, 100, 200, 400, 800, 1500, 3000] as const;

/** Shows the point in ten seconds. */
export const presetPlan: Plan = { tokensPerSecond: 50, tokens: 400, fault: 'none', maxBytes: 4096 };
export const presetReaders: readonly ReaderPlan[] = [
  { name: 'Quick', policy: 'coalesce', eventsPerSecond: Infinity },
  { name: 'Slow', policy: 'coalesce', eventsPerSecond: 12 },
  { name: 'Also slow', policy: 'drop-oldest', eventsPerSecond: 12 },
];
export const presetPipeSpeed = 12;

// About what one event of the simulator has.
const eventBytes = 230;

/** The simulator's model of that behaviour. */
export function modelOf({ fault, tokens, tokensPerSecond }: Plan): string {
  const half = Math.floor(tokens / 2);
  const more: Readonly<Record<Fault, string>> = {
    none: '',
    'slow first token': ',ttft=3000',
    stall: `,stall=${half}`,
    error: `,error=${half}`,
    cut: `,cut=${half * eventBytes}`,
  };
  return `sim:tps=${tokensPerSecond},tokens=${tokens}${more[fault]}`;
}

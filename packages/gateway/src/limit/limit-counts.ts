import type { LimitError, LimitScope } from '@spillway/server/limit/limit-error';

interface LimitCount {
  readonly scope: LimitScope;
  /** The setting of the limit. */
  readonly name: string;
  count: number;
}

const budgets = ['tokensPerMinute', 'tokensPerDay', 'tokensPerMonth', 'costPerDay', 'costPerMonth'];
/** The limits that end answers, by their scope. */
const cutting: Readonly<Record<LimitScope, readonly string[]>> = {
  tenant: budgets,
  key: budgets,
  user: ['userTokensPerDay'],
  session: ['sessionTokens'],
  answer: ['answerTokens', 'answerMs'],
};
const admitting: Readonly<Partial<Record<LimitScope, readonly string[]>>> = {
  tenant: ['requests', 'streams'],
  key: ['requests', 'streams'],
  user: ['userRequests', 'userStreams'],
};

/** How often which limit was reached, since the process began. Bounded: limits have names of settings. */
export class LimitCounts {
  readonly refused = new Map<string, LimitCount>();
  readonly cut = new Map<string, LimitCount>();

  constructor() {
    // All are there from the start: a rate would miss the first count of a series that begins with it.
    for (const [scope, names] of Object.entries(cutting) as [LimitScope, readonly string[]][]) {
      for (const name of [...(admitting[scope] ?? []), ...names]) countOf(this.refused, scope, name);
      for (const name of names) countOf(this.cut, scope, name);
    }
  }

  /** `isCut`: the limit ended an answer; otherwise it refused a request. */
  add({ reached: { name, scope } }: LimitError, isCut: boolean): void {
    countOf(isCut ? this.cut : this.refused, scope, name).count += 1;
  }
}

function countOf(counts: Map<string, LimitCount>, scope: LimitScope, name: string): LimitCount {
  const key = `${scope} ${name}`;
  const known = counts.get(key);
  if (known !== undefined) return known;
  const count = { scope, name, count: 0 };
  counts.set(key, count);
  return count;
}

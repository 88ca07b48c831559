import type { LimitError, LimitScope } from '@spillway/server/limit/limit-error';

interface LimitCount {
  readonly scope: LimitScope;
  /** The setting of the limit. */
  readonly name: string;
  count: number;
}

/** How often which limit was reached, since the process began. Bounded: limits have names of settings. */
export class LimitCounts {
  readonly refused = new Map<string, LimitCount>();
  readonly cut = new Map<string, LimitCount>();

  /** `isCut`: the limit ended an answer; otherwise it refused a request. */
  add({ reached: { name, scope } }: LimitError, isCut: boolean): void {
    const counts = isCut ? this.cut : this.refused;
    const key = `${scope} ${name}`;
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { scope, name, count: 1 });
    else known.count += 1;
  }
}

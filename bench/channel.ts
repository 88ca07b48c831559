import { cases, type Kind } from './channel/cases.ts';
import { numberFrom } from './own-process.ts';
import { quantile } from './programs.ts';

const rounds = 5;
const capacities = [64, 1024];
const runCase = new URL('channel/run-case.ts', import.meta.url);
const streamIterArg = '--experimental-stream-iter';

/** Items per second, by kind and name. */
type Rates = Readonly<Record<Kind, ReadonlyMap<string, number>>>;

/**
 * Items per second through the channel, its peers and a bare ring. A figure is the median of processes that did
 * nothing else; the cases take turns, so that what disturbs the machine disturbs all.
 */
export async function channelRates(): Promise<void> {
  for (const capacity of capacities) {
    const rates = await measure(capacity);
    for (const kind of kinds) printTable(capacity, kind, rates);
    printGoals(capacity, rates);
  }
}

const kinds = Object.keys(cases) as Kind[];

async function measure(capacity: number): Promise<Rates> {
  const samples = kinds.flatMap((kind) =>
    Object.keys(cases[kind])
      .filter((name) => !isStreamIter(name) || process.allowedNodeEnvironmentFlags.has(streamIterArg))
      .map((name) => ({ kind, name, rates: new Array<number>() })),
  );
  for (let round = 0; round < rounds; round += 1) {
    for (const { kind, name, rates } of samples) {
      const nodeArgs = isStreamIter(name) ? [streamIterArg, '--disable-warning=ExperimentalWarning'] : [];
      rates.push(await numberFrom(runCase, [kind, name, `${capacity}`], nodeArgs));
    }
  }
  const medians = (kind: Kind): ReadonlyMap<string, number> =>
    new Map(
      samples
        .filter((sample) => sample.kind === kind)
        .map(({ name, rates }) => [name, quantile(rates, 0.5)] as const),
    );
  return {
    'one by one': medians('one by one'),
    'in batches': medians('in batches'),
    'to ten readers': medians('to ten readers'),
  };
}

function isStreamIter(name: string): boolean {
  return name.startsWith('stream/iter');
}

function printTable(capacity: number, kind: Kind, rates: Rates): void {
  const title = `capacity ${capacity}, ${kind}`;
  console.log(`\n${title.padEnd(40)} M items/s  of the fastest peer  of the bare ring`);
  const { rate: fastest } = fastestPeer(kind, rates);
  const ring = bareRing(kind, rates);
  for (const [name, rate] of rates[kind]) {
    const columns = [(rate / 1e6).toFixed(2), times(rate, fastest), times(rate, ring)];
    const widths = [9, 19, 16];
    console.log(
      name.padEnd(40),
      columns.map((column, index) => column.padStart(widths[index] ?? 0)).join('  '),
    );
  }
}

function printGoals(capacity: number, rates: Rates): void {
  const of = (kind: Kind, name: string): number => rates[kind].get(name) ?? Number.NaN;
  const oneByOne = fastestPeer('one by one', rates);
  const inBatches = fastestPeer('in batches', rates);
  const toTen = fastestPeer('to ten readers', rates);
  const take = of('one by one', 'spillway: offer, take');
  const takeAll = of('in batches', 'spillway: offer, takeAll');
  const takeByTen = of('to ten readers', 'spillway: offer, take');
  const takeAllByTen = of('to ten readers', 'spillway: offer, takeAll');
  console.log(
    `\ncapacity ${capacity}: one by one ${times(take, oneByOne.rate)} of the fastest peer (goal 2; ${oneByOne.name}); ` +
      `in batches ${times(takeAll, oneByOne.rate)} of that and ${times(takeAll, inBatches.rate)} of the fastest in ` +
      `batches (goal 4; ${inBatches.name}); ${times(take, bareRing('one by one', rates))} of the bare ring (goal 0.8); ` +
      `to ten readers ${times(takeByTen, toTen.rate)}, with takeAll ${times(takeAllByTen, toTen.rate)}, of the fastest ` +
      `peer (goal 1; ${toTen.name})`,
  );
}

function fastestPeer(kind: Kind, rates: Rates): { readonly name: string; readonly rate: number } {
  const [first] = [...rates[kind]]
    .filter(([name]) => !name.startsWith('spillway') && !name.startsWith('bare'))
    .toSorted(([, a], [, b]) => b - a);
  return { name: first?.[0] ?? '', rate: first?.[1] ?? Number.NaN };
}

/** Batches are compared with the same ring as single items. */
function bareRing(kind: Kind, rates: Rates): number {
  const name = 'bare ring: put, take';
  return rates[kind].get(name) ?? rates['one by one'].get(name) ?? Number.NaN;
}

function times(rate: number, other: number): string {
  return (rate / other).toFixed(2);
}

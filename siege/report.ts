import type { Spread } from './honest-streams.ts';
import type { SiegeRecord } from './siege-record.ts';
import { judge } from './verdict.ts';

/** More than this of all cores used by other programs, and waits say more of the machine than of the gateway. */
const maxOthersRatio = 0.2;

/** What whoever reads the figures has to know, if other programs used the machine; `undefined`: they did not. */
export function disturbance({
  calmly,
  observed,
}: Pick<SiegeRecord, 'calmly' | 'observed'>): string | undefined {
  const ratio = Math.max(calmly.othersRatio, observed.othersRatio);
  if (ratio <= maxOthersRatio) return undefined;
  return `The machine was too busy for the times to mean anything: other programs used ${percent(ratio)} of its cores.`;
}

/** Prints what was found in a siege, and the verdict. */
export function printRecord(kinds: readonly string[], description: string, record: SiegeRecord): void {
  const { attacked, calm, calmly, honest, observed } = record;
  console.log(`\n# ${kinds.length === 1 ? kinds[0] : `${kinds.length} kinds at once`}\n${description}\n`);
  printTable(
    ['attack', 'attempts', 'refused', 'ended by it'],
    Object.entries(attacked).map(([name, { attempts, ended, refused }]) => [
      name,
      `${attempts}`,
      `${refused}`,
      `${ended}`,
    ]),
  );
  printTable(
    ['honest streams', 'calm', 'under attack'],
    [
      ['read to their end', `${calm.completed}`, `${honest.completed}`],
      ['characters', `${calm.characters}`, `${honest.characters}`],
      ['requests refused and sent again', `${calm.refused}`, `${honest.refused}`],
      ['broken', `${calm.broken}`, `${honest.broken}`],
      ['first token, ms: p50 / p99 / max', spread(calm.firstTokenMs), spread(honest.firstTokenMs)],
      ['longest gap, ms: p50 / p99 / max', spread(calm.longestGapMs), spread(honest.longestGapMs)],
      ['gateway: most memory, MB', megabytes(calmly.maxRssBytes), megabytes(observed.maxRssBytes)],
      ['gateway: most descriptors', `${calmly.maxDescriptors}`, `${observed.maxDescriptors}`],
      ['gateway: part of its core', percent(calmly.cpuRatio), percent(observed.cpuRatio)],
      ['the load itself: late by at most, ms', calmly.loadLateMs.toFixed(0), observed.loadLateMs.toFixed(0)],
      ['longest outage for strangers, s', seconds(calmly.longestOutageMs), seconds(observed.longestOutageMs)],
    ],
  );
  for (const problem of honest.problems) console.log(`  ${problem}`);
  const disturbed = disturbance(record);
  if (disturbed !== undefined) console.log(`\n${disturbed}`);
  console.log(
    `\nStrangers are served again after ${seconds(record.servedAgainMs)} s, all is settled after ${seconds(record.settledMs)} s.`,
  );
  printTable(
    ['verdict', '', ''],
    judge(record).map(({ found, isHeld, name }) => [name, isHeld ? 'held' : 'FAILED', found]),
  );
}

/** One line a kind. */
export function printEach(all: readonly { readonly name: string; readonly record: SiegeRecord }[]): void {
  console.log(
    '\n| attack | survived | most memory, MB | core | descriptors before → most → after | honest broken | added wait, s | served again, s | verdict |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|');
  for (const { name, record } of all) {
    const { before, calm, exit, honest, observed, settled } = record;
    const addedMs = Math.max(
      honest.firstTokenMs.max - calm.firstTokenMs.max,
      honest.longestGapMs.max - calm.longestGapMs.max,
    );
    const failed = judge(record).filter(({ isHeld }) => !isHeld);
    const cells = [
      name,
      exit === undefined ? 'yes' : `no, ${exit.split(':')[0]}`,
      megabytes(observed.maxRssBytes),
      percent(observed.cpuRatio),
      `${before.descriptors} → ${observed.maxDescriptors} → ${settled?.descriptors ?? '?'}`,
      `${honest.broken} of ${honest.broken + honest.completed}`,
      seconds(Math.max(0, addedMs)),
      seconds(record.servedAgainMs),
      failed.length === 0 ? 'held' : `failed: ${failed.map((check) => check.name).join(', ')}`,
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

/** Prints columns of text, the first one to the left. */
export function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  console.log();
  for (const row of [titles, ...rows]) {
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
  }
}

function spread({ max, p50, p99 }: Spread): string {
  return [p50, p99, max].map((value) => value.toFixed(0)).join(' / ');
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(0)} %`;
}

function seconds(ms: number): string {
  return Number.isFinite(ms) ? (ms / 1000).toFixed(1) : 'never';
}

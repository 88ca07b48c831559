import { quantile } from './programs.ts';
import { systems as allSystems, yardstick } from './systems.ts';

const order = allSystems.map(({ name }) => name);

/** Something that is measured. */
export interface Metric {
  readonly name: string;
  readonly unit: string;
  /** Digits behind the point when it is printed. */
  readonly digits: number;
  /** Whether a ratio to the yardstick says something. Default: true. */
  readonly hasRatio?: boolean;
  /** Whether it is the one that counts of a case, and is in the picture. Default: false. */
  readonly isHeadline?: boolean;
  /** Whether a change may not make it worse. Default: false. */
  readonly isWatched?: boolean;
}

/** What was measured of one system in one case. */
export interface Figure {
  readonly case: string;
  readonly system: string;
  readonly metric: string;
  readonly unit: string;
  /** The median of the rounds. Infinite (in JSON: null) if it did not happen. */
  readonly value: number;
  /** The median of the rounds' ratios to the yardstick, which was measured right before or after in each of them. */
  readonly ratio: number | undefined;
  /** The least and the largest of these ratios. */
  readonly ratioRange: readonly [number, number] | undefined;
  readonly rounds: number;
  readonly isHeadline: boolean;
  readonly isWatched: boolean;
  /** What one has to know about it. */
  readonly notes: readonly string[];
}

/** Collects what a workload measures, round by round. */
export class Figures {
  readonly #metrics = new Map<string, Metric>();
  /** By case, system and metric. */
  readonly #values = new Map<string, Map<string, Map<string, number[]>>>();
  /** What a reader of the figures has to know, by case and system. */
  readonly #notes = new Map<string, Map<string, Set<string>>>();

  add(caseName: string, system: string, metric: Metric, value: number): void {
    this.#metrics.set(metric.name, metric);
    const ofCase = getOrPut(this.#values, caseName, () => new Map<string, Map<string, number[]>>());
    const ofSystem = getOrPut(ofCase, system, () => new Map<string, number[]>());
    getOrPut(ofSystem, metric.name, () => []).push(value);
  }

  note(caseName: string, system: string, text: string): void {
    const ofCase = getOrPut(this.#notes, caseName, () => new Map<string, Set<string>>());
    getOrPut(ofCase, system, () => new Set<string>()).add(text);
  }

  all(): Figure[] {
    return [...this.#values].flatMap(([caseName, systems]) =>
      [...systems].toSorted(byOrder).flatMap(([system, metrics]) =>
        [...metrics].map(([name, values]) => {
          const metric = this.#metrics.get(name);
          const yardsticks = systems.get(yardstick)?.get(name) ?? [];
          const ratios = metric?.hasRatio === false ? [] : ratiosOf(values, yardsticks);
          return {
            case: caseName,
            system,
            metric: name,
            unit: metric?.unit ?? '',
            value: quantile(values, 0.5),
            ratio: ratios.length === 0 ? undefined : quantile(ratios, 0.5),
            ratioRange:
              ratios.length === 0 ? undefined : ([quantile(ratios, 0), quantile(ratios, 1)] as const),
            rounds: values.length,
            isHeadline: metric?.isHeadline === true,
            isWatched: metric?.isWatched === true,
            notes: [...(this.#notes.get(caseName)?.get(system) ?? [])],
          };
        }),
      ),
    );
  }

  /** A table for each case, with a line for each system. */
  print(): void {
    const all = this.all();
    for (const [caseName, systems] of this.#values) {
      const ofCase = all.filter((figure) => figure.case === caseName);
      const metrics = [...new Set(ofCase.map(({ metric }) => metric))];
      // A system of which nothing could be measured has a line too, with the reason.
      const notes = this.#notes.get(caseName);
      const names = order.filter((name) => systems.has(name) || notes?.has(name) === true);
      const rows = names.map((system) => [
        system,
        ...metrics.map((name) =>
          this.#cell(ofCase.find((figure) => figure.system === system && figure.metric === name)),
        ),
        [...(notes?.get(system) ?? [])].join('; '),
      ]);
      const titles = metrics.map((name) => `${name}, ${this.#metrics.get(name)?.unit}`);
      printTable([caseName, ...titles, ''], rows);
    }
  }

  #cell(figure: Figure | undefined): string {
    if (figure === undefined) return '–';
    if (figure.value === Infinity) return 'never';
    const text = figure.value.toFixed(this.#metrics.get(figure.metric)?.digits ?? 0);
    return figure.ratio === undefined ? text : `${text} (${figure.ratio.toFixed(2)})`;
  }
}

/** They may have ended in any. */
function byOrder([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return order.indexOf(a) - order.indexOf(b);
}

/** Round by round, so that what disturbs the machine for a while disturbs both. */
function ratiosOf(values: readonly number[], yardsticks: readonly number[]): number[] {
  return values
    .slice(0, yardsticks.length)
    .map((value, round) => value / (yardsticks[round] ?? Number.NaN))
    .filter((ratio) => Number.isFinite(ratio));
}

function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  console.log();
  for (const row of [titles, ...rows]) {
    const [first = '', ...others] = row;
    const cells = others.map((cell, index) =>
      index === others.length - 1 ? cell : cell.padStart(widths[index + 1] ?? 0),
    );
    console.log(`${first.padEnd(widths[0] ?? 0)}  ${cells.join('  ')}`.trimEnd());
  }
}

function getOrPut<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  const value = map.get(key) ?? make();
  map.set(key, value);
  return value;
}

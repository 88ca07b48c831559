import type { JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import UPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useElementWidth } from './element-width.ts';
import { clockText } from './units.ts';

interface ChartLine {
  readonly label: string;
  /** The name of a custom property of the style sheet, without its dashes. */
  readonly color: string;
  /** Lines differ by more than their colour. */
  readonly dash?: readonly number[];
  readonly isFilled?: boolean;
  readonly values: readonly (number | null)[];
}

export interface ChartProps {
  readonly title: string;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly lines: readonly ChartLine[];
  /** Each line on top of those behind it. */
  readonly isStacked?: boolean;
  /** Bytes: an axis in powers of two. */
  readonly isBinary?: boolean;
  /** Lines between points that have a hole between them. */
  readonly spansGaps?: boolean;
  readonly format: (value: number) => string;
  /** The least that the axis reaches to, so that silence does not look like noise. */
  readonly leastTop: number;
}

const heightPx = 116;
const spanS = 600;
const powersOfTwo = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** A line chart of ten minutes. The newest values, or those below the pointer, stand above it as text. */
export function Chart(props: ChartProps): JSX.Element {
  const { format, lines, times, title } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const widthPx = useElementWidth(box);
  const [pointed, setPointed] = useState<number | null>(null);
  const shape = lines.map(({ label }) => label).join();

  useEffect(() => {
    const element = box.current;
    if (element === null || widthPx === 0) return undefined;
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const build = (): void => {
      plot.current?.destroy();
      plot.current = new UPlot(
        optionsOf(latest.current, widthPx, setPointed),
        dataOf(latest.current),
        element,
      );
    };
    build();
    // uPlot follows a mouse. A finger that moves sideways is followed here, and up or down it scrolls the page.
    const touch = ({ clientX, pointerType }: PointerEvent): void => {
      const { current } = plot;
      if (pointerType !== 'touch' || current === null) return;
      const over = current.over.getBoundingClientRect();
      current.setCursor({ left: clientX - over.left, top: over.height / 2 });
    };
    element.addEventListener('pointerdown', touch);
    element.addEventListener('pointermove', touch);
    scheme.addEventListener('change', build);
    return () => {
      scheme.removeEventListener('change', build);
      element.removeEventListener('pointerdown', touch);
      element.removeEventListener('pointermove', touch);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, widthPx]);

  useEffect(() => plot.current?.setData(dataOf(latest.current)), [times, lines]);

  const index = pointed !== null && pointed < times.length ? pointed : times.length - 1;
  const said = useMemo(() => describe(props), [times, lines]);
  const atS = times[index];
  return (
    <figure class="chart">
      <figcaption>
        <div class="chart-title">
          <h3>{title}</h3>
          {pointed !== null && atS !== undefined && <span class="sub">at {clockText(atS * 1000)}</span>}
        </div>
        <ul class="legend">
          {lines.map((line) => (
            <li key={line.label}>
              <svg width="14" height="8" aria-hidden="true">
                <line
                  x1="0"
                  y1="4"
                  x2="14"
                  y2="4"
                  stroke={`var(--${line.color})`}
                  stroke-width={line.isFilled || props.isStacked ? 7 : 2}
                  stroke-dasharray={line.dash?.join(' ')}
                />
              </svg>
              {line.label} <b>{valueText(valueAt(props, line, index), format)}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div class="plot" ref={box} role="img" aria-label={`${title}, the last ten minutes. ${said}`} />
    </figure>
  );
}

function optionsOf(props: ChartProps, width: number, onPoint: (index: number | null) => void): UPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const axis = {
    stroke: color('muted'),
    font: '11px system-ui, sans-serif',
    grid: { stroke: color('line'), width: 1 },
    ticks: { show: false },
  };
  const series = props.lines.map((line): UPlot.Series => ({
    label: line.label,
    stroke: color(line.color),
    width: props.isStacked ? 0 : 1.5,
    points: { show: props.spansGaps === true && isSparse, size: 4 },
    spanGaps: props.spansGaps ?? false,
    ...(line.dash === undefined ? {} : { dash: [...line.dash] }),
    ...(props.isStacked
      ? { fill: color(line.color) }
      : line.isFilled
        ? { fill: `${color(line.color)}40` }
        : {}),
  }));
  return {
    width,
    height: heightPx,
    legend: { show: false },
    padding: [8, 18, 0, 0],
    cursor: {
      sync: { key: 'overview', scales: ['x', null] },
      drag: { x: false, y: false },
      points: { size: 6 },
    },
    scales: {
      x: {
        time: true,
        range: (_plot, _least, most) => [most - spanS, most],
      },
      y: { range: (_plot, _least, most) => [0, Math.max(props.leastTop, (most ?? 0) * 1.1)] },
    },
    axes: [
      {
        ...axis,
        size: 24,
        space: 70,
        values: (_plot, splits) => splits.map((at) => clockText(at * 1000).slice(0, 5)),
      },
      {
        ...axis,
        size: 62,
        space: 32,
        values: (_plot, splits) => splits.map((value) => props.format(value)),
        ...(props.isBinary === true ? { incrs: powersOfTwo } : {}),
      },
    ],
    series: [{}, ...series],
    hooks: {
      setCursor: [
        ({ cursor }) => onPoint(cursor.idx === undefined || (cursor.left ?? -1) < 0 ? null : cursor.idx),
      ],
    },
  };
}

function dataOf({ isStacked = false, lines, times }: ChartProps): UPlot.AlignedData {
  const rows = lines.map(({ values }) => [...values]);
  if (isStacked) {
    for (let row = rows.length - 2; row >= 0; row -= 1) {
      rows[row] = rows[row]?.map((value, at) => (value ?? 0) + (rows[row + 1]?.[at] ?? 0)) ?? [];
    }
  }
  return [[...times], ...rows];
}

function valueText(value: number | null | undefined, format: (value: number) => string): string {
  return value === null || value === undefined ? '–' : format(value);
}

/** With holes in it, the last value before. */
function valueAt({ spansGaps }: ChartProps, { values }: ChartLine, index: number): number | null | undefined {
  return spansGaps === true ? values.slice(0, index + 1).findLast((value) => value !== null) : values[index];
}

/** Few points are shown as such: a line needs neighbours. */
function isSparse(plot: UPlot, row: number): boolean {
  const values: readonly (number | null | undefined)[] = Array.from(plot.data[row] ?? []);
  return values.filter((value) => value !== null).length < 40;
}

/** What the picture says, in words. */
function describe({ format, lines }: ChartProps): string {
  return lines
    .map(({ label, values }) => {
      let most = 0;
      for (const value of values) if (value !== null && value > most) most = value;
      return `${label}: now ${valueText(values.at(-1), format)}, at most ${format(most)}.`;
    })
    .join(' ');
}

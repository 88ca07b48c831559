import type { Figure } from './figures.ts';
import type { Report } from './suite.ts';
import { spillway, yardstick } from './systems.ts';

const [columns, columnWidth, labelWidth, barsWidth] = [2, 520, 170, 260];
const [titleHeight, rowHeight, gap] = [44, 20, 24];
/** The ends of the axis; what is beyond them is drawn at them. */
const [leastRatio, largestRatio] = [0.02, 50];

/**
 * An SVG with a panel for each headline: every system's ratio to the bare Node pipe, on an axis on which half and twice
 * as much are equally far from it.
 */
export function picture({ machine, workloads }: Report): string {
  const panels = workloads.flatMap(({ figures, name }) =>
    [...new Set(figures.map((figure) => figure.case))].flatMap((caseName) => {
      const shown = figures.filter((figure) => figure.case === caseName && figure.isHeadline);
      const title = `${name} ${caseName}: ${shown[0]?.metric}`;
      return shown.length > 1 ? [{ title, figures: shown }] : [];
    }),
  );
  const ends = Array.from({ length: columns }, () => titleHeight + gap);
  const drawn = panels.map((panel) => {
    const column = ends.indexOf(Math.min(...ends));
    const top = ends[column] ?? 0;
    ends[column] = top + titleHeight + panel.figures.length * rowHeight + gap;
    return drawPanel(panel.title, panel.figures, 20 + column * columnWidth, top);
  });
  const [width, height] = [20 + columns * columnWidth, Math.max(...ends)];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(
      20,
      26,
      'Spillway beside its peers, as ratios to a bare Node pipe: less is better',
      'font-size="16"',
    ),
    text(20, 46, machine, 'fill="#666"'),
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

function drawPanel(title: string, figures: readonly Figure[], left: number, top: number): string {
  const axis = left + labelWidth + at(1);
  const rows = figures.map((figure, index) => {
    const y = top + 24 + index * rowHeight;
    const ratio = figure.ratio ?? (figure.value === Infinity ? Infinity : Number.NaN);
    const x = left + labelWidth + at(ratio);
    const [from, to] = [Math.min(x, axis), Math.max(x, axis)];
    const isOurs = figure.system === spillway;
    const colour = isOurs ? '#0b6bcb' : figure.system === yardstick ? '#555' : '#b3b9c4';
    const value = ratio === Infinity ? 'never' : ratio.toFixed(2);
    return [
      text(left, y + 13, figure.system, isOurs ? 'font-weight="bold"' : ''),
      `<rect x="${from.toFixed(1)}" y="${y + 3}" width="${Math.max(2, to - from).toFixed(1)}" height="13" fill="${colour}"/>`,
      text(left + labelWidth + barsWidth + 8, y + 13, value, isOurs ? 'font-weight="bold"' : ''),
    ].join('');
  });
  const bottom = top + 24 + figures.length * rowHeight;
  return [
    text(left, top + 12, title, 'font-size="13" font-weight="bold"'),
    ...rows,
    `<line x1="${axis}" x2="${axis}" y1="${top + 20}" y2="${bottom}" stroke="#000" stroke-width="0.7"/>`,
  ].join('\n');
}

/** Where a ratio is on the axis. */
function at(ratio: number): number {
  const kept = Math.min(largestRatio, Math.max(leastRatio, ratio));
  return (Math.log(kept / leastRatio) / Math.log(largestRatio / leastRatio)) * barsWidth;
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x}" y="${y}" ${attributes}>${escaped}</text>`;
}

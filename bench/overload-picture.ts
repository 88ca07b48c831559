/** Goodput of one way to let requests in, both as parts of what fits. */
export interface Curve {
  readonly name: string;
  readonly points: readonly { readonly load: number; readonly goodput: number }[];
}

const [left, top, width, height] = [60, 60, 520, 260];
const [maxLoad, maxGoodput] = [5, 1.2];
const colours = ['#b3b9c4', '#555', '#0b6bcb', '#c2410c'];

/** An SVG: a line for each way, goodput over the load. */
export function overloadPicture(curves: readonly Curve[]): string {
  const x = (load: number): number => left + (load / maxLoad) * width;
  const y = (goodput: number): number => top + height - (Math.min(goodput, maxGoodput) / maxGoodput) * height;
  const lines = curves.map(({ name, points }, index) => {
    const colour = colours[index % colours.length] ?? '';
    const path = points
      .map(({ goodput, load }) => `${x(load).toFixed(1)},${y(goodput).toFixed(1)}`)
      .join(' ');
    const dots = points.map(
      ({ goodput, load }) =>
        `<circle cx="${x(load).toFixed(1)}" cy="${y(goodput).toFixed(1)}" r="3" fill="${colour}"/>`,
    );
    const labelY = top + height + 60 + index * 20;
    return [
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...dots,
      `<line x1="${left}" x2="${left + 24}" y1="${labelY - 4}" y2="${labelY - 4}" stroke="${colour}" stroke-width="2"/>`,
      text(left + 32, labelY, name),
    ].join('\n');
  });
  const ticks = [
    ...[0, 1, 2, 3, 4, 5].map((load) => text(x(load) - 4, top + height + 18, `${load}`)),
    ...[0, 0.25, 0.5, 0.75, 1].map((part) =>
      [
        text(left - 44, y(part) + 4, `${100 * part} %`),
        `<line x1="${left}" x2="${left + width}" y1="${y(part)}" y2="${y(part)}" stroke="#ddd"/>`,
      ].join('\n'),
    ),
  ];
  const total = top + height + 60 + curves.length * 20;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 20} ${total}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    text(20, 26, 'Goodput under overload', 'font-size="16"'),
    text(
      20,
      46,
      'streams that were read whole, with their first token within 1 s, as a part of what fits',
      'fill="#666"',
    ),
    ...ticks,
    text(left + width - 150, top + height + 34, 'asked for, × what fits', 'fill="#666"'),
    ...lines,
    '</svg>\n',
  ].join('\n');
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped}</text>`;
}

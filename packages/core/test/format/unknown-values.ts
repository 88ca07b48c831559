/** JSON of values that may add up: a list is made longer, a number larger, a text joined, an object filled. */
export const valuesThatMayAddUp = [
  '[198]',
  '7',
  '"na"',
  '{"a":[1]}',
  '0',
  '-0.0',
  '1e400',
  '[null]',
  '[[]]',
  '[{"type":"thinking","thinking":"na"}]',
  '{"a":null}',
  String.raw`"\u0041"`,
] as const;

/** JSON of values that are the same, however often they are there. */
export const plainValues = ['null', 'true', 'false', '""', '[]', '{}'] as const;

/**
 * Everywhere where JSON text may have one more field: in each of its objects, however deep, in front of all others
 * and behind them.
 */
function placesOf(
  json: string,
): { readonly at: number; readonly isEmpty: boolean; readonly isFirst: boolean }[] {
  const text = json.replaceAll(/"(?:[^"\\]|\\.)*"/g, (string) => '"'.repeat(string.length));
  return [...text.matchAll(/[{}]/g)].map(({ 0: brace, index }) => {
    const isFirst = brace === '{';
    const at = isFirst ? index + 1 : index;
    const isEmpty = isFirst ? /^\s*\}/.test(text.slice(at)) : /\{\s*$/.test(text.slice(0, at));
    return { at, isEmpty, isFirst };
  });
}

export function countPlaces(json: string): number {
  return placesOf(json).length;
}

/** JSON text of an object with one more field in one of its places, of which any number stands for one. */
export function withFieldAt(json: string, place: number, field: string): string {
  const places = placesOf(json);
  const found = places[place % places.length];
  if (found === undefined) return json;
  const { at, isEmpty, isFirst } = found;
  const own = isEmpty ? field : isFirst ? `${field},` : `,${field}`;
  return json.slice(0, at) + own + json.slice(at);
}

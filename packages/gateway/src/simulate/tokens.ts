/** What the simulated model says: plain words, with characters of two, three and four bytes among them. */
const words = [
  'Water ',
  'flows ',
  'over ',
  'the ',
  'spillway ',
  'when ',
  'the ',
  'lake ',
  'is ',
  'full, ',
  'so ',
  'the ',
  'dam ',
  'holds. ',
  'Où ',
  'l’eau ',
  'trouve ',
  'sa ',
  'voie, ',
  '水は',
  '低きに',
  '流れる。',
  '🌊 ',
] as const;

/** The text of token `index`: the same for everybody, so that a reader can check what it got. */
export function tokenText(index: number, size: number): string {
  const word = words[index % words.length] ?? '';
  return size <= word.length ? word : word.repeat(Math.ceil(size / word.length)).slice(0, size);
}

/** The text of a whole reply. */
export function replyText(tokens: number, size: number): string {
  let text = '';
  for (let index = 0; index < tokens; index += 1) text += tokenText(index, size);
  return text;
}

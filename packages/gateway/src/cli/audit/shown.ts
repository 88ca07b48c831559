/**
 * Text from outside, for a terminal: a control character in it would be a command to that. Line ends and tabs stay where
 * the text is shown as a whole.
 */
export function shown(text: string, keepsLines = false): string {
  return text.replaceAll(/\p{Cc}|\p{Cf}/gu, (character) =>
    keepsLines && /[\n\t]/.test(character)
      ? character
      : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** A time, to the second or with its milliseconds. */
export function shownTime(timeMs: number, hasMs = false): string {
  const time = new Date(timeMs);
  if (Number.isNaN(time.getTime())) return String(timeMs);
  return hasMs ? time.toISOString() : time.toISOString().replace(/\.\d+Z$/, 'Z');
}

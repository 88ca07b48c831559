/**
 * The parts of a header that is a list. A pattern for the spaces around commas would take the square of a run of spaces: a
 * tenth of a second for one header.
 */
export function listed(header: string): string[] {
  return header.split(',').map((part) => part.trim());
}

/** An id of a stream of Redis, `MS-NUMBER`: the milliseconds at which an entry was added, and a number among those. */
export type EntryId = string;

const maxNumber = 18_446_744_073_709_551_615n;
/** More entries of one millisecond than a Redis adds. */
const perMs = 2048;

/** Below 0: the first is before the other one. Both halves may be larger than a number is exact. */
export function compareIds(one: EntryId, other: EntryId): number {
  const [oneMs = '', oneNumber = ''] = one.split('-');
  const [otherMs = '', otherNumber = ''] = other.split('-');
  return compareDigits(oneMs, otherMs) || compareDigits(oneNumber, otherNumber);
}

/** The next id there can be. */
export function idAfter(id: EntryId): EntryId {
  const [ms, number] = halvesOf(id);
  return number === maxNumber ? `${ms + 1n}-0` : `${ms}-${number + 1n}`;
}

/** The last id there can be before this one. */
export function idBefore(id: EntryId): EntryId {
  const [ms, number] = halvesOf(id);
  return number === 0n ? `${ms - 1n}-${maxNumber}` : `${ms}-${number - 1n}`;
}

/** A number that ascends with the ids; `undefined`: an id that a program has made up has none. */
export function numberOfId(id: EntryId): number | undefined {
  const [ms = 0, number = 0] = id.split('-').map(Number);
  const value = ms * perMs + number;
  return number < perMs && Number.isSafeInteger(value) ? value : undefined;
}

function halvesOf(id: EntryId): readonly [ms: bigint, number: bigint] {
  const [ms = '0', number = '0'] = id.split('-');
  return [BigInt(ms), BigInt(number)];
}

/** Digits without zeros before them. */
function compareDigits(one: string, other: string): number {
  if (one.length !== other.length) return one.length - other.length;
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

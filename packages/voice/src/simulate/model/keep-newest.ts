/** The most entries of a list. */
const maxKept = 1000;

/** Appends to a list that keeps the newest thousand. */
export function keepNewest<T>(list: T[], value: T): void {
  list.push(value);
  if (list.length > maxKept) list.shift();
}

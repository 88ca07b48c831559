import { type ClearRecord, digestOf, linkHash } from './audit-chain.ts';
import type { AuditProblem, AuditProblemKind, AuditProblems } from './audit-problem.ts';

/** A row of a chain as the file has it. */
export interface ChainRow {
  readonly n: number;
  /** `null`: of no stream. */
  readonly stream: string | null;
  readonly seq: number | null;
  readonly kind: string;
  readonly at: number;
  readonly content: Uint8Array | null;
  readonly digest: Uint8Array | null;
  readonly hash: Uint8Array;
  /** 1: it lies behind the row before it, as its program put it; 0: it does not. */
  readonly isInOrder: number;
}

/** A row that does not follow from the one before it. */
interface Misfit {
  readonly row: ChainRow;
  readonly digest: Uint8Array;
  readonly before: Uint8Array;
  kind: AuditProblemKind;
  message: string;
}

/** So many misfits of a chain are kept to find out whether they have changed places. */
const maxMisfits = 64;
const empty = new Uint8Array();

/**
 * Checks that the rows of one chain follow from one another. Each row is compared with the hash that the row before it
 * has, so that one wrong row is one problem, and what comes after it is still checked.
 */
export class ChainCheck {
  readonly #writer: number;
  readonly #problems: AuditProblems;
  readonly #misfits: Misfit[] = [];
  #next: number;
  #before: Uint8Array | undefined;
  /** How much higher the numbers of rows are than they were: more rows were added than removed, and all renumbered. */
  #shift = 0;
  /** The row before, when it was a misfit. */
  #last: Misfit | undefined;
  #isClosed = false;

  /** `next`: the number of the first row that is there; `before`: the hash of the row before that. */
  constructor(writer: number, next: number, before: Uint8Array, problems: AuditProblems) {
    this.#writer = writer;
    this.#next = next;
    this.#before = before;
    this.#problems = problems;
  }

  /** The number of the row that has to come. */
  get next(): number {
    return this.#next;
  }

  /** Goes on behind rows that were pruned while they were checked. */
  skipTo(next: number, before: Uint8Array): void {
    this.#next = next;
    this.#before = before;
    this.#last = undefined;
  }

  /** Takes the next row, in the order of their numbers. */
  take(row: ChainRow): void {
    if (row.n > this.#next) this.#miss(row.n);
    if (this.#isClosed) this.#tell('added', row, 'stands behind the end of its chain');
    this.#isClosed ||= row.kind === 'close' && row.seq === null;
    const before = this.#before;
    const digest = this.#digestOf(row);
    this.#next = row.n + 1;
    this.#before = row.hash;
    const last = this.#last;
    this.#last = undefined;
    // The row before is gone, and nobody knows its hash.
    if (before === undefined || this.#follows(row, digest, before, this.#shift)) {
      if (row.isInOrder === 0) this.#tell('reordered', row, 'lies in the file in front of the record before');
      return;
    }
    if (last !== undefined && this.#isExplained(row, digest, last)) return;
    const misfit: Misfit = {
      row,
      digest,
      before,
      kind: 'changed',
      message: 'does not follow from the record before',
    };
    this.#last = misfit;
    if (this.#misfits.length < maxMisfits) this.#misfits.push(misfit);
    else this.#tell(misfit.kind, row, misfit.message);
  }

  /** Tells what was wrong with the chain. */
  end(): void {
    for (const one of this.#misfits)
      for (const other of this.#misfits)
        if (one !== other && fits(this.#writer, one, other)) markReordered(one, other);
    for (const { kind, message, row } of this.#misfits) this.#tell(kind, row, message);
  }

  #miss(found: number): void {
    const range =
      this.#next === found - 1 ? `record ${this.#next} is` : `records ${this.#next} to ${found - 1} are`;
    this.#problems.add({
      kind: 'missing',
      message: `${range} not there`,
      writer: this.#writer,
      n: this.#next,
    });
    this.#before = undefined;
    this.#last = undefined;
  }

  /** Whether a row fits again if the misfit before it was put in, or stands where others were taken out. */
  #isExplained(row: ChainRow, digest: Uint8Array, last: Misfit): boolean {
    const isBefore = this.#follows(row, digest, last.before, this.#shift + 1);
    if (isBefore && this.#follows(last.row, last.digest, row.hash, this.#shift - 1)) {
      const misfit: Misfit = { row, digest, before: last.row.hash, kind: 'reordered', message: '' };
      markReordered(last, misfit);
      this.#misfits.push(misfit);
      this.#before = last.row.hash;
      return true;
    }
    if (isBefore) {
      this.#shift += 1;
      last.kind = 'added';
      last.message = 'was put between others';
      return true;
    }
    if (this.#follows(row, digest, last.row.hash, this.#shift - 1)) {
      this.#shift -= 1;
      last.kind = 'missing';
      last.message = 'a record before this one is not there';
      return true;
    }
    return false;
  }

  #follows(row: ChainRow, digest: Uint8Array, before: Uint8Array, shift: number): boolean {
    return isSame(linkHash(before, clearOf(this.#writer, row, row.n - shift), digest), row.hash);
  }

  #digestOf(row: ChainRow): Uint8Array {
    const { content, digest, seq } = row;
    if (content !== null) {
      if (digest !== null) this.#tell('changed', row, 'has a digest as if it was erased');
      return digestOf(content);
    }
    if (seq === null) this.#tell('changed', row, 'has lost its content');
    return digest ?? empty;
  }

  #tell(kind: AuditProblemKind, row: ChainRow, message: string): void {
    this.#problems.add(problemAt(kind, this.#writer, row, message));
  }
}

/** A problem of one row. */
export function problemAt(
  kind: AuditProblemKind,
  writer: number,
  { n, seq, stream }: Pick<ChainRow, 'n' | 'seq' | 'stream'>,
  message: string,
): AuditProblem {
  return {
    kind,
    message,
    writer,
    n,
    ...(stream === null ? {} : { stream }),
    ...(seq === null ? {} : { seq }),
  };
}

/** Whether the row of `other` was once at the place of `one`. Hashes may have been exchanged with the rest, or not. */
function fits(writer: number, one: Misfit, other: Misfit): boolean {
  const hash = linkHash(one.before, clearOf(writer, other.row, one.row.n), other.digest);
  return isSame(hash, one.row.hash) || isSame(hash, other.row.hash);
}

function markReordered(one: Misfit, other: Misfit): void {
  for (const [misfit, place] of [
    [one, other.row.n],
    [other, one.row.n],
  ] as const) {
    misfit.kind = 'reordered';
    misfit.message = `has changed places with record ${place}`;
  }
}

function clearOf(writer: number, { at, kind, seq, stream }: ChainRow, n: number): ClearRecord {
  return { writer, n, stream, seq, kind, at };
}

/** Whether two byte strings are equal. */
export function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** What a database of SQLite begins with. */
const magic = 'SQLite format 3\0';
/** As much of a database as says how large its pages are, and how many it has. */
const headBytes = 32;
/** What a write-ahead log begins with, and each page in it. */
const walHeadBytes = 32;
const frameHeadBytes = 24;

/**
 * Whether a database of SQLite has as many pages as its first one says. Pages at its end may be in its write-ahead log alone,
 * while they are moved into the file, or after a crash in the middle of that. `undefined`: it does not begin as a database does.
 */
export function hasAllPages(database: number, wal: string): boolean | undefined {
  // Between two looks another process may have moved all pages, and begun its write-ahead log anew.
  const first = lookForPages(database, wal);
  return first === false ? lookForPages(database, wal) : first;
}

function lookForPages(database: number, wal: string): boolean | undefined {
  const head = bytesAt(database, 0, headBytes);
  if (head === undefined || head.toString('latin1', 0, magic.length) !== magic) return undefined;
  const pageBytes = pageBytesOf(head.readUInt16BE(16));
  const pages = head.readUInt32BE(28);
  const whole = Math.floor(fstatSync(database).size / pageBytes);
  if (whole >= pages) return true;
  const inWal = pagesIn(wal);
  for (let page = whole + 1; page <= pages; page += 1) if (!inWal.has(page)) return false;
  return true;
}

/** The numbers of the pages in a write-ahead log. */
function pagesIn(path: string): Set<number> {
  const pages = new Set<number>();
  let wal: number;
  try {
    wal = openSync(path, 'r');
  } catch {
    return pages;
  }
  try {
    const head = bytesAt(wal, 0, walHeadBytes);
    if (head === undefined) return pages;
    const frameBytes = frameHeadBytes + head.readUInt32BE(8);
    for (let at = walHeadBytes; ; at += frameBytes) {
      const frame = bytesAt(wal, at, frameHeadBytes);
      // Behind the newest page are old ones, from before the log was begun anew: with other salts.
      if (frame === undefined || !frame.subarray(8, 16).equals(head.subarray(16, 24))) return pages;
      pages.add(frame.readUInt32BE(0));
    }
  } finally {
    closeSync(wal);
  }
}

/** 65536 does not fit into the field. */
function pageBytesOf(field: number): number {
  return field === 1 ? 65_536 : field;
}

/** `undefined`: the file ends before. */
function bytesAt(file: number, at: number, length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length);
  return readSync(file, bytes, 0, length, at) === length ? bytes : undefined;
}

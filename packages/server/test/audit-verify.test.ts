import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AuditHead, digestOf, linkHash } from '../src/audit/audit-chain.ts';
import type { AuditProblem } from '../src/audit/audit-problem.ts';
import { erase } from '../src/audit/erase.ts';
import { prune } from '../src/audit/prune.ts';
import { decrypt, encrypt, placeOf } from '../src/audit/stream-cipher.ts';
import { verifyAudit } from '../src/audit/verify-audit.ts';
import { logPath, openWriter, recordOf, streamRecords } from './support/audit.ts';

/** A closed log with three streams in two chains, the second stream erased. */
function closedLog(): { readonly path: string; readonly heads: readonly AuditHead[] } {
  const path = logPath();
  const first = openWriter(path);
  first.write([...streamRecords('a', { texts: ['one', 'two'] }), ...streamRecords('b', { caller: 'bob' })]);
  const erasing = erase(path, first, { stream: 'b' }, 1);
  expect(erasing).toEqual({ streams: 1, records: 4 });
  first.close();
  const second = openWriter(path);
  const head = second.write(streamRecords('c', { texts: ['three'], hasEnded: false }));
  second.close();
  return { path, heads: [head] };
}

/** Changes a log behind its back. */
function tamper(path: string, ...statements: readonly string[]): void {
  const db = new DatabaseSync(path);
  for (const statement of statements) db.exec(statement);
  db.close();
}

const problemsOf = (path: string, heads?: readonly AuditHead[]): readonly AuditProblem[] =>
  verifyAudit(path, heads).problems;

/** What a problem says of its place. */
const placesOf = (problems: readonly AuditProblem[]): string[] =>
  problems.map(({ kind, n, seq, stream, writer }) => [kind, writer, n, stream, seq].join(' ').trimEnd());

test('a log that nobody touched is intact, with what was erased in it', () => {
  const { heads, path } = closedLog();
  const report = verifyAudit(path, heads);
  expect(report.problems).toEqual([]);
  expect(report).toMatchObject({ streams: 3, erased: 1, records: 12, pruned: 0, prunedHeads: [] });
  // open, nine records, erase, close; and open, three records, close.
  expect(report.heads.map(({ count }) => count)).toEqual([12, 5]);
});

describe('what was changed is found, with its place', () => {
  const tail = (n: number): string => `UPDATE records SET n = n + ${n} WHERE writer = 1 AND n > 4`;
  const renumbered = [
    `UPDATE records SET n = -n - 1 WHERE writer = 1 AND n > 4`,
    `UPDATE records SET n = -n WHERE n < 0`,
  ];
  const copy = 'INSERT INTO records(writer, n, stream, kind, at, content, hash)';

  test.each<[string, readonly string[], readonly string[]]>([
    ['a record is removed', ['DELETE FROM records WHERE writer = 1 AND n = 4'], ['missing 1 4']],
    ['two records are removed', ['DELETE FROM records WHERE writer = 1 AND n IN (4, 5)'], ['missing 1 4']],
    [
      'a record is removed, and the others renumbered',
      [
        'DELETE FROM records WHERE writer = 1 AND n = 4',
        tail(100),
        `UPDATE records SET n = n - 101 WHERE writer = 1 AND n > 100`,
      ],
      ['missing 1 4 a 3'],
    ],
    [
      'its content',
      [`UPDATE records SET content = randomblob(40) WHERE writer = 1 AND n = 4`],
      ['changed 1 4 a 2', 'changed 1 4 a 2'],
    ],
    ['its time', ['UPDATE records SET at = at + 1 WHERE writer = 1 AND n = 4'], ['changed 1 4 a 2']],
    [
      'its kind',
      [`UPDATE records SET kind = 'gap' WHERE writer = 1 AND n = 4`],
      ['changed 1 4 a 2', 'changed 1 4 a 2'],
    ],
    [
      'its number in the stream',
      ['UPDATE records SET seq = 77 WHERE writer = 1 AND n = 4'],
      ['changed 1 4 a 77', 'changed 1 4 a 77'],
    ],
    [
      'its hash',
      ['UPDATE records SET hash = randomblob(32) WHERE writer = 1 AND n = 4'],
      ['changed 1 4 a 2', 'changed 1 5 a 3'],
    ],
    [
      'the digest of what was erased',
      [`UPDATE records SET digest = randomblob(32) WHERE writer = 1 AND n = 8`],
      ['changed 1 8 b 1'],
    ],
    [
      'two records change places',
      [
        'UPDATE records SET n = -9 WHERE writer = 1 AND n = 3',
        'UPDATE records SET n = 3 WHERE writer = 1 AND n = 4',
        'UPDATE records SET n = 4 WHERE n = -9',
      ],
      ['reordered 1 3 a 2', 'reordered 1 4 a 1'],
    ],
    [
      'a record is added in between',
      [
        ...renumbered,
        `${copy} SELECT 1, 5, stream, 'chunks', at, content, hash FROM records WHERE writer = 1 AND n = 4`,
      ],
      ['changed 1 5 a', 'added 1 5 a'].slice(1),
    ],
    [
      'a record is added behind the end',
      [`${copy} SELECT 1, 13, NULL, 'close', at, content, hash FROM records WHERE writer = 1 AND n = 12`],
      ['added 1 13', 'changed 1 13'],
    ],
    [
      'content is taken as if it was erased',
      [`UPDATE records SET content = NULL, digest = randomblob(32) WHERE writer = 1 AND n = 4`],
      ['changed 1 4 a 2', 'changed 1 4 a 2'],
    ],
    ['a whole chain is removed', ['DELETE FROM records WHERE writer = 1'], ['missing 1']],
    [
      'a chain and its writer are removed',
      ['DELETE FROM records WHERE writer = 1', 'DELETE FROM writers WHERE id = 1'],
      ['missing 1'],
    ],
    [
      'the end of an older chain is removed',
      ['DELETE FROM records WHERE writer = 1 AND n > 11'],
      ['head 1 12'],
    ],
  ])('%s', (_what, statements, places) => {
    const { path } = closedLog();
    tamper(path, ...statements);
    const found = placesOf(problemsOf(path)).filter((place) => !place.startsWith('index'));
    expect(found.slice(0, places.length)).toEqual(places);
  });

  test.each([
    ['a key', `UPDATE keys SET key = randomblob(32) WHERE stream = 1`, 'changed 1 2 a 0'],
    ['a key, which is gone', `DELETE FROM keys WHERE stream = 1`, 'index   a'],
    ['a key that comes back', `UPDATE keys SET key = randomblob(32) WHERE stream = 2`, 'index   b'],
    ['who asked', `UPDATE streams SET caller = 'eve' WHERE id = 1`, 'index   a'],
    ['how it ended', `UPDATE streams SET state = 'failed' WHERE id = 1`, 'index   a'],
    ['when', `UPDATE streams SET started = 1 WHERE id = 2`, 'index   b'],
    ['a stream that nobody wrote', `INSERT INTO streams(name, started) VALUES('d', 1)`, 'index   d'],
    ['its name', `UPDATE streams SET name = 'z' WHERE id = 1`, 'changed 1 2 z 0'],
    ['who wrote', `UPDATE writers SET node = 'z' WHERE id = 1`, 'index 1'],
    ['a table', `CREATE VIEW more AS SELECT * FROM records`, 'file'],
    ['an index', `DROP INDEX recordsByStream`, 'file'],
    ['a key of nobody', `INSERT INTO keys VALUES(99, randomblob(32))`, 'added'],
    ['what is left of an erased key', `UPDATE keys SET key = x'00' WHERE stream = 2`, 'index   b'],
    [
      'a number that an erasure would not find',
      `UPDATE streams SET id = -1 WHERE id = 1; UPDATE keys SET stream = -1 WHERE stream = 1; UPDATE records SET stream = -1 WHERE stream = 1`,
      'index   a',
    ],
    [
      'the order in which two records are exported',
      `UPDATE records SET id = -1 WHERE id = 3; UPDATE records SET id = 3 WHERE id = 4; UPDATE records SET id = 4 WHERE id = -1`,
      'reordered 1 4 a 2',
    ],
    ['numbers that no export finds', `UPDATE records SET id = id - 100`, 'reordered 1 1'],
    ['the order of two chains', `UPDATE records SET id = id + 100 WHERE writer = 1`, 'reordered 1 12'],
    [
      'a record in front of its chain',
      `INSERT INTO records(writer, n, kind, at, content, hash) SELECT 1, 0, kind, at, content, hash FROM records WHERE id = 1`,
      'added 1 0',
    ],
  ])('what is beside the chain: %s', (_what, statement, place) => {
    const { path } = closedLog();
    tamper(path, statement);
    expect(placesOf(problemsOf(path))).toContain(place);
  });

  test('by somebody who knows how: what was encrypted anew, and a record with its own hash', () => {
    const { path } = closedLog();
    const db = new DatabaseSync(path);
    const row = db
      .prepare(
        'SELECT seq, kind, at, key, content FROM records JOIN keys ON keys.stream = records.stream WHERE writer = 1 AND n = 4',
      )
      .get() as { seq: number; kind: string; at: number; key: Uint8Array; content: Uint8Array };
    const place = placeOf('a', row.seq);
    const value = Buffer.from(decrypt(row.key, place, row.content) ?? '');
    const said = Buffer.from(value.toString().replace('one', 'two'));
    expect(said.equals(value)).toBe(false);
    const content = encrypt(row.key, Buffer.alloc(12, 1), place, said);
    db.prepare('UPDATE records SET content = ? WHERE writer = 1 AND n = 4').run(content);
    expect(placesOf(problemsOf(path))).toEqual(['changed 1 4 a 2']);
    const before = db.prepare('SELECT hash FROM records WHERE writer = 1 AND n = 3').get() as {
      hash: Uint8Array;
    };
    const clear = { writer: 1, n: 4, stream: 'a', seq: row.seq, kind: row.kind, at: row.at };
    const hash = linkHash(before.hash, clear, digestOf(content));
    db.prepare('UPDATE records SET hash = ? WHERE writer = 1 AND n = 4').run(hash);
    db.close();
    expect(placesOf(problemsOf(path))).toEqual(['changed 1 5 a 3']);
  });

  test('property: any row that is changed, removed, exchanged or added', () => {
    const { path } = closedLog();
    const { heads } = verifyAudit(path);
    const copyPath = join(dirname(path), 'copy.db');
    const row = fc.record({ writer: fc.constantFrom(1, 2), n: fc.integer({ min: 1, max: 12 }) });
    const where = ({ n, writer }: { n: number; writer: number }): string => `writer = ${writer} AND n = ${n}`;
    const change = fc.oneof(
      row.map((one) => [`DELETE FROM records WHERE ${where(one)}`]),
      fc
        .tuple(row, fc.constantFrom('content', 'hash', 'digest', 'kind', 'at', 'stream', 'seq'))
        .map(([one, field]) => [
          `UPDATE OR IGNORE records SET ${field} = ${{ content: 'randomblob(33)', hash: 'randomblob(32)', digest: 'randomblob(32)', kind: "'x'", at: 'at - 1', stream: 'coalesce(stream, 0) + 1', seq: 'coalesce(seq, 0) + 50' }[field]} WHERE ${where(one)}`,
        ]),
      fc
        .tuple(fc.integer({ min: 1, max: 17 }), fc.integer({ min: -20, max: 20 }))
        .map(([id, to]) => [`UPDATE OR IGNORE records SET id = ${to} WHERE id = ${id}`]),
      fc
        .tuple(row, row)
        .map(([one, other]) => [
          `UPDATE records SET n = -1 WHERE ${where(one)}`,
          `UPDATE records SET n = ${one.n}, writer = ${one.writer} WHERE ${where(other)} AND EXISTS(SELECT 1 FROM records WHERE n = -1)`,
          `UPDATE records SET n = ${other.n}, writer = ${other.writer} WHERE n = -1 AND NOT EXISTS(SELECT 1 FROM records WHERE ${where(other)})`,
        ]),
    );
    fc.assert(
      fc.property(change, (statements) => {
        copyFileSync(path, copyPath);
        const before = dump(copyPath);
        tamper(copyPath, ...statements);
        if (dump(copyPath) !== before) expect(problemsOf(copyPath, heads)).not.toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  test('property: any byte of the file that means anything', () => {
    const { path } = closedLog();
    const copyPath = join(dirname(path), 'copy.db');
    const bytes = readFileSync(path);
    const before = dump(path);
    let harmless = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: bytes.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (at, by) => {
          const changed = Buffer.from(bytes);
          changed.writeUInt8((changed[at] ?? 0) ^ by, at);
          writeFileSync(copyPath, changed);
          let problems: number | undefined;
          try {
            problems = verifyAudit(copyPath).problemCount;
          } catch {
            // It is no audit log any more, which is said too.
            return;
          }
          if (problems > 0) return;
          expect(dump(copyPath)).toBe(before);
          harmless += 1;
        },
      ),
      { numRuns: 600 },
    );
    // Most of a small file is room that nothing is in.
    expect(harmless).toBeLessThan(600);
  });
});

/** All that a log says, as text. */
function dump(path: string): string {
  const db = new DatabaseSync(path, { readOnly: true });
  const tables = ['writers', 'streams', 'keys', 'records'].map((table) => {
    // Numbers of records say nothing but their order.
    const fields = table === 'records' ? 'writer, n, stream, seq, kind, at, content, digest, hash' : '*';
    return db.prepare(`SELECT ${fields} FROM ${table} NOT INDEXED ORDER BY rowid`).all();
  });
  db.close();
  return JSON.stringify(tables);
}

describe('what a bare chain cannot tell, a head does', () => {
  test('the newest records are removed', () => {
    const { heads, path } = closedLog();
    tamper(
      path,
      'DELETE FROM records WHERE writer = 2 AND n > 3',
      'UPDATE streams SET ended = ended WHERE id = 3',
    );
    expect(problemsOf(path)).toEqual([]);
    expect(placesOf(problemsOf(path, heads))).toEqual(['head 2 4']);
  });

  test('an older copy stands in its place', () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write(streamRecords('a'));
    writer.close();
    copyFileSync(path, `${path}.old`);
    const later = openWriter(path);
    const head = later.write(streamRecords('b'));
    later.close();
    expect(problemsOf(path, [head])).toEqual([]);
    expect(problemsOf(`${path}.old`)).toEqual([]);
    expect(placesOf(problemsOf(`${path}.old`, [head]))).toEqual(['head 2 5']);
  });

  test('another log stands in its place', () => {
    const { heads, path } = closedLog();
    const other = closedLog();
    expect(problemsOf(other.path)).toEqual([]);
    expect(placesOf(problemsOf(other.path, heads))).toEqual(['head 2 4']);
    expect(problemsOf(path, heads)).toEqual([]);
  });
});

test('a log without any chain is none that a program left', () => {
  const path = logPath();
  const { db } = openWriter(path);
  expect(placesOf(problemsOf(path))).toEqual(['missing']);
  expect(db.isOpen).toBe(true);
});

test('a log is verified while it is written, erased and pruned', () => {
  const path = logPath();
  const writer = openWriter(path);
  const other = openWriter(path, 'other');
  for (let round = 0; round < 60; round += 1) {
    writer.write(
      streamRecords(`a${round}`, {
        atMs: 1000 + round,
        texts: Array.from({ length: 30 }, () => 'x'.repeat(50)),
      }),
    );
    if (round % 7 === 3) erase(path, other, { stream: `a${round}` }, 1);
    if (round % 9 === 5) prune(other, { maxAgeMs: 10 }, 1000 + round, 100);
    if (round % 5 === 0) expect(problemsOf(path)).toEqual([]);
  }
  expect(verifyAudit(path)).toMatchObject({ problems: [] });
});

test('a stream whose records are no records of a tap is verified like any other', () => {
  const path = logPath();
  const writer = openWriter(path);
  writer.write([recordOf('a', 5, Buffer.from([255, 0])), recordOf('a', 6, '')]);
  expect(problemsOf(path)).toEqual([]);
});

test('records of a chain that no program began are added ones, whatever they say', () => {
  for (const writer of [-5, 0, 99]) {
    const { heads, path } = closedLog();
    tamper(
      path,
      `INSERT INTO records(writer, n, stream, seq, kind, at, content, digest, hash)
         SELECT ${writer}, 1, NULL, NULL, 'prune', at, CAST('{"no":99}' AS BLOB), digest, hash FROM records LIMIT 1`,
    );
    expect(placesOf(problemsOf(path, heads))).toContain(`added ${writer}`);
  }
  const { path } = closedLog();
  tamper(path, `INSERT INTO writers SELECT 0, node, process, started, base, baseHash FROM writers LIMIT 1`);
  expect(placesOf(problemsOf(path))).toContain('added 0');
});

test('a stream of which pruning left the end of a reader alone is intact', () => {
  const path = logPath();
  const writer = openWriter(path);
  const first = streamRecords('a', { texts: ['one'], atMs: 1 });
  const reader = { v: 1, stream: 'a', seq: first.length, at: 2, kind: 'reader', reader: 1 };
  writer.write([...first, recordOf('a', first.length, JSON.stringify(reader))]);
  writer.write(streamRecords('b', { atMs: 9_000_000_000_000, hasEnded: false }));
  // As many as the stream has before that one, behind the chain's own first record.
  expect(prune(writer, { maxBytes: 1 }, 10_000_000_000_000, first.length + 1)).toBe(first.length + 1);
  writer.close();
  expect(problemsOf(path)).toEqual([]);
});

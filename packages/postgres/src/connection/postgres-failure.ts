import { DatabaseError } from 'pg';

/** What to do, by the code of PostgreSQL's answer. */
const advices: ReadonlyMap<string, string> = new Map([
  ['3D000', 'make it (createdb), or name another one in the URL'],
  ['3F000', 'make it (CREATE SCHEMA), or name another one in table='],
  [
    '42501',
    'let the user do so (GRANT INSERT, SELECT (stream, seq, part) ON the table; GRANT CREATE ON the schema where the table is to be made)',
  ],
]);

/** Grants do not help there. The code is that of a right that is missing. */
const rowAdvice =
  'let a policy of the table allow what the user writes and looks for (CREATE POLICY … FOR INSERT … WITH CHECK, and FOR SELECT … USING), or give the user BYPASSRLS';

/** What PostgreSQL or the system says, for people: without secrets, and without what is in a record. */
export function wordsOf(error: unknown): string {
  if (error instanceof DatabaseError) {
    const { code = '', message } = error;
    // What is wrong with a value may quote it, and a trigger may say anything.
    if (/^(?:22|23|P0)/.test(code)) return `SQLSTATE ${code}`;
    const advice = /row-level security/.test(message) ? rowAdvice : advices.get(code);
    return `${message} (${code})${advice === undefined ? '' : `: ${advice}`}`;
  }
  const told = error instanceof AggregateError ? error.errors[0] : error;
  return told instanceof Error ? told.message || told.name : String(told);
}

/** The code of PostgreSQL's answer: https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function sqlState(error: unknown): string | undefined {
  return error instanceof DatabaseError ? error.code : undefined;
}

/** Whether PostgreSQL, or its client for want of a password, has said that user, password or rights are not enough. */
export function isDenial(error: unknown): boolean {
  if (error instanceof DatabaseError) return /^28|^42501$/.test(error.code ?? '');
  return error instanceof Error && error.message.startsWith('SASL: ');
}

/** Whether the client says no more than that TLS did not come about, as of a server that has none, or is away. */
export function isAboutTls(error: unknown): boolean {
  return error instanceof Error && /SSL connection/.test(error.message) && !(error instanceof DatabaseError);
}

/** Whether a server has answered that goes on, and did not only say goodbye. */
export function isAnswer(error: unknown): boolean {
  return error instanceof DatabaseError && !/^(?:08|25P|57P)/.test(error.code ?? '');
}

const reasons: ReadonlyMap<string, string> = new Map([
  ['22021', 'it is not UTF-8'],
  ['22P02', 'it is not JSON'],
  ['22P05', 'it has a character that jsonb does not keep: U+0000, or half of a pair'],
  ['22003', 'it has a number that jsonb does not keep'],
  ['54000', 'it is larger than jsonb keeps'],
  ['54001', 'it is nested more deeply than PostgreSQL reads'],
]);

/**
 * Why PostgreSQL will never take a row, in words that do not quote it; `undefined`: that is not what it said. Data that a
 * type or a constraint refuses is refused again; whatever else is wrong may be mended.
 */
export function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof DatabaseError)) return undefined;
  const { code = '', constraint } = error;
  if (!/^(?:22|23|54)/.test(code)) return undefined;
  const why = constraint === undefined ? reasons.get(code) : `the constraint ${constraint} refuses it`;
  return `${why ?? 'it is not what the table takes'} (SQLSTATE ${code})`;
}

import { z } from 'zod';

/**
 * How the simulated provider behaves for one request: `name=value` pairs with commas between them,
 * behind a colon in the model's name (`sim:tps=20,tokens=50`) or in the header `x-simulate`. A name
 * alone means 1. The header wins.
 */

const count = z.coerce.number().int().min(0).max(1_000_000_000);
const flag = z.stringbool().default(false);

const behaviourSchema = z.strictObject({
  /** Tokens a second; 0: as fast as the reader takes them. */
  tps: z.coerce.number().min(0).max(1_000_000).default(50),
  /** Tokens in the reply. */
  tokens: count.default(100),
  /** Bytes of text in a token, made longer by repetition; 0: as the word is. */
  size: count.max(1_000_000).default(0),
  /** Milliseconds to the response headers. */
  headers: count.default(0),
  /** Milliseconds from there to the first token. */
  ttft: count.default(100),
  /** What comes before the first token is sent at once, and not with it. */
  early: flag,
  /** Events in one write. */
  batch: count.min(1).max(100_000).default(1),
  /** Answers about the last message, in words, instead of with `tokens`. */
  talk: flag,
  /** A recorded stream to replay: a path below the recordings folder, without `.jsonl`. */
  replay: z.string().max(256).optional(),

  /** Fault: answer with this status and an error. */
  status: z.coerce.number().int().min(200).max(599).optional(),
  /** With `status`: seconds for the header `Retry-After`. */
  retryAfter: count.optional(),
  /** With `status`: only the first so many requests for this very model name fail. */
  times: count.optional(),
  /** Fault: answer with an HTML page (and 502, unless `status` says otherwise). */
  html: flag,
  /** Fault: close the connection instead of answering. */
  hangup: flag,
  /** Fault: cut the connection after so many bytes of the body. */
  cut: count.optional(),
  /** Fault: stop after so many tokens and keep the connection open. */
  stall: count.optional(),
  /** Fault: after so many tokens, an error event, and the end without a marker. */
  error: count.optional(),
  /** Fault: after so many tokens, nothing but keep-alive comments, one every 10 ms, without end. */
  comments: count.optional(),
  /** Fault: the first token is on a line of so many bytes. */
  line: count.max(64 * 1024 * 1024).optional(),
  /** Fault: bytes are split after every so many, each piece a write of its own. */
  split: count.min(1).optional(),
  /** Line ends: `lf`, `crlf` or `cr`. */
  eol: z.enum(['lf', 'crlf', 'cr']).default('lf'),
  /** A byte order mark in front. */
  bom: flag,
  /** Fault: an orderly end, but without the end marker. */
  unmarked: flag,
  /** Fault: an orderly end right behind the last token, without a marker and without a reason. */
  unfinished: flag,
  /** Fault: no blank line behind the end marker. */
  unterminated: flag,
  /** Fault: so many bytes more behind the end marker. */
  trailing: count.optional(),
});

export type Behaviour = z.infer<typeof behaviourSchema>;

/** A request that cannot be understood; the message says which part. */
export class BehaviourError extends Error {
  override readonly name = 'BehaviourError';
}

/**
 * A request's body, if it is what was expected.
 *
 * @throws {BehaviourError}
 */
export function checked<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = issue === undefined || issue.path.length === 0 ? 'The body' : issue.path.join('.');
  throw new BehaviourError(`${field}: ${told(issue)}.`);
}

/**
 * Reads the behaviour out of a model's name and the header.
 *
 * @throws {BehaviourError}
 */
export function readBehaviour(model: string, header: string | undefined): Behaviour {
  const colon = model.indexOf(':');
  const values = readPairs(`${colon === -1 ? '' : model.slice(colon + 1)},${header ?? ''}`);
  const result = behaviourSchema.safeParse(values);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const name = String(issue?.path[0]);
  throw new BehaviourError(
    issue?.code === 'unrecognized_keys'
      ? `${issue.keys.join(', ')}: no such behaviour; expected ${Object.keys(behaviourSchema.shape).join(', ')}`
      : `${name}: ${told(issue).replace(/, got .*$/, '')}, got ${JSON.stringify(values[name])}.`,
  );
}

/** Reads `name=value` pairs with commas between them; the last of a name counts. */
export function readPairs(text: string): Readonly<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const pair of text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')) {
    const at = pair.indexOf('=');
    values[at === -1 ? pair : pair.slice(0, at)] = at === -1 ? '1' : pair.slice(at + 1);
  }
  return values;
}

/** What was expected and what came, in the words of the project's other messages. */
function told(issue: { readonly message: string } | undefined): string {
  return (issue?.message ?? '').replace(/^Invalid input: /, '').replace(', received ', ', got ');
}

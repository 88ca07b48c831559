import { z } from 'zod';
import { maxPageStreams } from '@spillway/server/console/ended-streams';
import { errorCodes, GatewayError } from '@spillway/server/errors';

const maxTextChars = 200;
/** A message quotes so many characters of what came. */
const maxQuotedChars = 60;

const states = ['completed', 'failed', 'cancelled'] as const;
/** Providers, models and keys have any names: one that nothing has is found nowhere. */
const name = z.string().max(maxTextChars, `expected at most ${maxTextChars} characters`).optional();
const limitText = `expected a whole number from 1 to ${maxPageStreams}`;

/** The parameters of `GET /ended`. A code that is empty stands for streams without an error. */
export const endedQuery = z.strictObject({
  state: z.enum(states, `expected ${states.join(', ')}`).optional(),
  provider: name,
  model: name,
  key: name,
  code: z.enum(['', ...errorCodes], 'expected a code of an error, or nothing').optional(),
  before: z
    .string()
    .regex(/^\d{1,15}-.{1,200}$/, 'expected next of another part')
    .optional(),
  limit: z.coerce
    .number(limitText)
    .int(limitText)
    .min(1, limitText)
    .max(maxPageStreams, limitText)
    .default(50),
});

/** The parameters of a path that has none. */
export const noQuery = z.strictObject({});

/**
 * Reads the parameters of a request. One that is misspelt is refused: without it, the answer would be another one.
 *
 * @throws {GatewayError} `invalid_request`, with the parameter, what was expected and what came.
 */
export function readQuery<T>(schema: z.ZodObject & z.ZodType<T>, query: unknown): T {
  const result = schema.safeParse(query);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue?.code === 'unrecognized_keys') {
    const known = Object.keys(schema.shape).join(', ');
    throw invalid(`expected no parameters${known && ` but ${known}`}, got ${quoted(issue.keys[0])}`);
  }
  const path = issue?.path.join('.') ?? '';
  const parameter = (query as Readonly<Record<string, string | string[] | undefined>>)[path];
  if (Array.isArray(parameter)) throw invalid(`${path}: expected it once, got it ${parameter.length} times`);
  throw invalid(`${path}: ${issue?.message ?? 'expected something else'}, got ${quoted(parameter)}`);
}

function quoted(text: string | undefined): string {
  return text === undefined ? 'nothing' : JSON.stringify(text.slice(0, maxQuotedChars));
}

function invalid(message: string): GatewayError {
  return new GatewayError('invalid_request', `${message}.`);
}

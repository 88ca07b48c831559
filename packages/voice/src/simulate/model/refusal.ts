import type { z } from 'zod';

/** What the API says of an event that it does not take. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  /** `null` where the API has none. */
  readonly code: string | null;
  /** The field that it is about. */
  readonly param: string | null;

  constructor(code: string | null, message: string, param: string | null = null) {
    super(message);
    this.code = code;
    this.param = param;
  }
}

/** Reads what a client sent, or throws what the API says of it. */
export function checked<T>(schema: z.ZodType<T>, message: unknown): T {
  const result = schema.safeParse(message);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw issue === undefined ? new Refusal('invalid_value', 'Invalid value.') : refusalOf(issue, message);
}

/** What the API says of a field. */
function refusalOf(issue: z.core.$ZodIssue, message: unknown): Refusal {
  if (issue.code === 'unrecognized_keys') {
    const name = nameOf([...issue.path, issue.keys[0] ?? '']);
    return new Refusal('unknown_parameter', `Unknown parameter: '${name}'.`, name);
  }
  const name = nameOf(issue.path);
  const value = valueAt(message, issue.path);
  if (value === undefined)
    return new Refusal('missing_required_parameter', `Missing required parameter: '${name}'.`, name);
  if (issue.code === 'invalid_type') {
    const wanted = issue.expected === 'int' ? 'integer' : issue.expected;
    return new Refusal(
      'invalid_type',
      `Invalid type for '${name}': expected ${wanted}, but got ${kindOf(value)} instead.`,
      name,
    );
  }
  const supported = issue.code === 'invalid_value' ? issue.values.map((one) => `'${String(one)}'`) : [];
  const told = supported.length === 0 ? issue.message : `Supported values are: ${supported.join(', ')}`;
  return new Refusal('invalid_value', `Invalid value: ${shown(value)}. ${told}.`, name);
}

/** A field's name as the API writes it: `session.tools[0].name`. */
function nameOf(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) =>
      typeof part === 'number' ? `[${part}]` : index === 0 ? String(part) : `.${String(part)}`,
    )
    .join('');
}

function valueAt(message: unknown, path: readonly PropertyKey[]): unknown {
  let value = message;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Reflect.get(value, part);
  }
  return value;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a decimal number';
  return `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`;
}

function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value.slice(0, 64)}'`;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : kindOf(value);
}

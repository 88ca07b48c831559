import { z } from 'zod';
import { describeRange, quantityExamples, type Range, readQuantity } from './units.ts';

/** The most bytes of a setting that bounds one thing, such as an event. */
const maxBytes = 1_073_741_824;
const maxMs = 86_400_000;

/** A number within a range, with or without a unit behind it. */
function quantity(range: Range): z.ZodType<number> {
  const { unit, min, max } = range;
  const examples = unit === 'count' ? '' : ` (${quantityExamples[unit]})`;
  return z
    .unknown()
    .transform((value, context) => {
      const number = readQuantity(value, unit);
      if (number !== undefined && number >= min && number <= max) return number;
      context.addIssue({
        code: 'custom',
        message: `expected ${describeRange(range)}${examples}`,
        input: value,
      });
      return z.NEVER;
    })
    .meta({ range });
}

/** A size in bytes. */
export function size(min: number, max = maxBytes): z.ZodType<number> {
  return quantity({ unit: 'bytes', min, max });
}

/** A duration in milliseconds, by default of a day at most. */
export function duration(min = 1, max = maxMs): z.ZodType<number> {
  return quantity({ unit: 'ms', min, max });
}

export function count(min: number, max: number): z.ZodType<number> {
  return quantity({ unit: 'count', min, max });
}

/** No bound but that of exact numbers. */
export const unbounded = Number.MAX_SAFE_INTEGER;

/** A text that is not empty. */
export const text = z.string('expected a text').min(1, 'expected a text that is not empty');

/** The name of an environment variable. What came instead is not printed: it may be the secret itself. */
export const variableName = z
  .string('expected a text')
  .regex(/^[A-Za-z_]\w*$/, 'expected the name of an environment variable, got something else');

/** The name of a variable as it is shown. A name that is not in capitals may be the secret itself. */
export function shownVariable(name: string): string {
  return /^[A-Z0-9_]*$/.test(name) ? name : '***';
}

/** A boolean, also as text. */
export const flag = z.preprocess(
  (value) => (value === 'true' ? true : value === 'false' ? false : value),
  z.boolean('expected true or false'),
);

/** A list of texts, or one text with commas or spaces between them. */
export const list = z.union(
  [z.string().transform((value) => value.split(/[\s,]+/).filter((part) => part !== '')), z.array(z.string())],
  { error: 'expected a list of texts, or one text with commas between them' },
);

/** A list inside an entry, or a text with `+` or spaces between its items: a comma would end the pair. */
export const items = z
  .union([z.string().transform((value) => value.split(/\+|\s+/)), z.array(z.string())], {
    error: 'expected a list of texts, or one text with + between them',
  })
  .pipe(z.array(z.string().min(1, 'expected texts that are not empty')));

import { z } from 'zod';
import { entries } from './entries.ts';
import { day, money } from './limit-values.ts';
import { text } from './values.ts';

/** What a model costs, from a day on. */
const priceSchema = z
  .strictObject({
    model: text.describe('the models that cost so much, as clients name them; * stands for any text'),
    input: money.optional().describe('a million tokens of a prompt, as 2.50, in currency'),
    output: money.optional().describe('a million tokens of an answer'),
    minute: money
      .optional()
      .describe('a minute of what callers say, of the recogniser of a cascade, as deepgram/nova-3'),
    characters: money
      .optional()
      .describe('a million characters that are spoken, of the speaker of a cascade, as elevenlabs/*'),
    since: day
      .optional()
      .describe('the day from which on it costs so much, by UTC, as 2026-01-31; default: always'),
  })
  .refine(({ input, output }) => (input === undefined) === (output === undefined), {
    path: ['output'],
    error: 'expected input and output, got one of them',
  })
  .refine(({ characters, input, minute }) => (input ?? minute ?? characters) !== undefined, {
    path: ['input'],
    error: 'expected input and output, minute or characters, got none of them',
  });

/** A row of the table of prices as it was written. */
export type PriceSettings = z.infer<typeof priceSchema>;

/** The keys of a price, with their descriptions. */
export const priceOptions = Object.entries(priceSchema.shape).map(([key, field]) => ({
  key,
  description: field.description ?? '',
}));

/** Prices as text, `model=gpt-4o*,input=2.50,output=10`, or a list of them as texts or objects. */
export const prices = entries(
  priceSchema,
  'model',
  'expected model=…,input=…,output=…, or a list of prices',
).refine(
  (value) => new Set(value.map(({ model, since = '' }) => `${since} ${model}`)).size === value.length,
  { error: 'expected each model once from a day on, got one twice' },
);

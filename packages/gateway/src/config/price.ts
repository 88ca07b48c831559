import { z } from 'zod';
import { entries } from './entries.ts';
import { day, money } from './limit-values.ts';
import { text } from './values.ts';

/** What a model costs, from a day on. */
const priceSchema = z.strictObject({
  model: text.describe('the models that cost so much, as clients name them; * stands for any text'),
  input: money.describe('a million tokens of a prompt, as 2.50, in currency'),
  output: money.describe('a million tokens of an answer'),
  since: day
    .optional()
    .describe('the day from which on it costs so much, by UTC, as 2026-01-31; default: always'),
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

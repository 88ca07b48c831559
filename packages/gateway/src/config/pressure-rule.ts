import { z } from 'zod';
import { entries } from './entries.ts';
import { count, duration, items, text } from './values.ts';

/** The least cap of an answer, in tokens: OpenAI's Responses API refuses less. */
const leastTokens = 16;

const priority = z.enum(['high', 'normal', 'low']);

/** What gives way from a level of pressure on, and for whom. */
const ruleSchema = z
  .strictObject({
    level: count(1, 3).describe('from which level of pressure on, 1 to 3'),
    models: items
      .optional()
      .describe('for which models, as clients name them; * stands for any text; default: all'),
    tenants: items.optional().describe('for which tenants; default: all'),
    priorities: items
      .pipe(
        z.array(z.enum(['high', 'normal', 'low'], 'expected high, normal or low, with + between several')),
      )
      .optional()
      .describe('for requests of which priority (tenant.priority): high, normal, low; default: all'),
    mergeMs: duration(1, 1000)
      .optional()
      .describe('the time between two writes to readers that ask for none (Spillway-Merge-Ms)'),
    logprobs: z
      .literal('off', 'expected off')
      .optional()
      .describe('off: no log probabilities, for those who ask for them'),
    maxTokens: count(leastTokens, 1_000_000)
      .optional()
      .describe('the most tokens of an answer; it only lowers'),
    reasoningEffort: z
      .enum(['low', 'medium', 'high'])
      .optional()
      .describe(
        'the most that a model reasons, for requests that ask for more: low, medium or high; as a budget 1024, 8192 or 24576 tokens',
      ),
    model: text
      .max(512, 'expected at most 512 characters')
      .optional()
      .describe('the model that answers instead, as clients name it; of the same API'),
    refuse: priority
      .optional()
      .describe(
        'refuse new requests of this priority and of lower ones with 503: low, normal, or high for all',
      ),
    stop: priority
      .optional()
      .describe(
        'once a second, end the running answer that matters least, of this priority and of lower ones, as a whole message: low, normal, or high for all; of more than a hundred one in a hundred',
      ),
  })
  .refine(
    ({ logprobs, maxTokens, mergeMs, model, reasoningEffort, refuse, stop }) =>
      [logprobs, maxTokens, mergeMs, model, reasoningEffort, refuse, stop].some(
        (value) => value !== undefined,
      ),
    'expected what gives way: mergeMs, logprobs, maxTokens, reasoningEffort, model, refuse or stop, got none of them',
  );

/** A rule of what gives way, as it was written. */
export type PressureRule = z.infer<typeof ruleSchema>;

/** The keys of a rule, with their descriptions. */
export const pressureOptions = Object.entries(ruleSchema.shape).map(([key, field]) => ({
  key,
  description: field.description ?? '',
}));

/** Rules as text, `level=1,maxTokens=1000 level=3,refuse=low`, or a list of them as texts or objects. */
export const pressureRules = entries(
  ruleSchema,
  'level',
  'expected level=1,maxTokens=1000, or a list of what gives way',
);

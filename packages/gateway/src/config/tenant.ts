import { z } from 'zod';
import { isTenantName } from './api-key.ts';
import { entries } from './entries.ts';
import { limitNumbers, rate, scopeShape } from './limit-values.ts';
import { count, duration, items } from './values.ts';

const { pace, tokens } = limitNumbers;

/** A tenant: its limits, and those of whoever is below it. */
const tenantSchema = z.strictObject({
  name: z
    .string('expected the name of a tenant, in a text as name=clinic,streams=20')
    .refine(
      (name) => name === '*' || isTenantName(name),
      'expected the name of a tenant, of lower-case letters, digits, ".", "_" and "-", or * for all others',
    )
    .describe(
      "the tenant, the part of a key's name before its slash; * for all that have no entry of their own",
    ),
  models: items
    .optional()
    .describe('the models that it may use, as clients name them; * stands for any text; default: all'),
  priority: z
    .enum(['high', 'normal', 'low'])
    .default('normal')
    .describe(
      'who gets the next free place of maxStreams: of those that wait, the one with the highest priority',
    ),
  ...scopeShape,
  answerTokens: tokens.optional().describe('tokens of one answer; it is cut there'),
  answerMs: duration(100)
    .optional()
    .describe(
      'how long one answer may take, from its request on; it is cut there, and refused (504) if it has not begun',
    ),
  answerTokensPerSecond: pace
    .optional()
    .describe('the pace of each stream, in tokens of the answer: it is slowed, and not refused'),
  userRequests: rate.optional().describe('requests of one end user, as requests; who that is, userFrom says'),
  userStreams: count(1, 1_000_000).optional().describe('streams at once of one end user'),
  userTokensPerDay: tokens.optional().describe('tokens of one end user in a day, by UTC'),
  userTokensPerSecond: pace.optional().describe('the pace of all streams of one end user together'),
  sessionTokens: tokens
    .optional()
    .describe('tokens of one conversation as long as it goes on; which that is, sessionFrom says'),
});

/** A tenant's entry as it was written. */
export type TenantSettings = z.infer<typeof tenantSchema>;

/** The keys of a tenant, with their descriptions. */
export const tenantOptions = Object.entries(tenantSchema.shape).map(([key, field]) => ({
  key,
  description: field.description ?? '',
}));

/** Tenants as text, `name=clinic,streams=20`, or a list of them as texts or objects. */
export const tenants = entries(
  tenantSchema,
  'name',
  'expected name=…,tokensPerDay=…, or a list of tenants',
).refine((value) => new Set(value.map(({ name }) => name)).size === value.length, {
  error: 'expected a different name for each, got one twice',
});

import { z } from 'zod';
import { entries } from './entries.ts';
import { duration, items } from './values.ts';

/** A model at a provider, as it is written: `provider/model`, or `3*provider/model`, three times as often as others. */
const targetPattern = /^(?:(?<weight>[1-9]\d{0,3})\*)?(?<provider>[\w.-]+)\/(?<model>.+)$/;

const target = z
  .string()
  .max(512, 'expected at most 512 characters')
  .regex(targetPattern, 'expected PROVIDER/MODEL, or WEIGHT*PROVIDER/MODEL with a weight from 1 to 9999');

function listOf(each: z.ZodString): z.ZodType<string[]> {
  return items.pipe(z.array(each).min(1, 'expected at least one').max(16, 'expected at most 16'));
}

/** A name for one model or several, at one provider or several. */
const modelSchema = z.strictObject({
  name: z
    .string('expected the name of a model, in a text as name=fast,targets=openai/gpt-4o-mini')
    .min(1, 'expected the name of a model')
    .max(256, 'expected at most 256 characters')
    .regex(/^[^*]*$/, 'expected one name of a model, without *')
    .describe('the model as clients name it; a name that a provider has too means this entry from then on'),
  targets: listOf(target).describe(
    'where its requests go, each PROVIDER/MODEL; with WEIGHT* before it, so many times as often as one with 1; one that fails or refuses is left out',
  ),
  fallback: listOf(target.regex(/^(?!\d+\*)/, 'expected no weight: they are asked in turn'))
    .optional()
    .describe(
      'where they go in turn when no target can take them, or the one that was asked failed before it had answered; none has a weight',
    ),
  budgetMs: duration(100, 3_600_000)
    .optional()
    .describe(
      'how long its answers may take, for requests without Spillway-Budget-Ms: where none can begin in that time, no target is asked (504), and one that has begun is ended as a whole message; default: as long as they take',
    ),
});

/** A model's entry as it was written. */
export type ModelSettings = z.infer<typeof modelSchema>;

/** The keys of a model, with their descriptions. */
export const modelOptions = Object.entries(modelSchema.shape).map(([key, field]) => ({
  key,
  description: field.description ?? '',
}));

/** Models as text, `name=fast,targets=3*openai/gpt-4o-mini groq/llama`, or a list of them as texts or objects. */
export const models = entries(
  modelSchema,
  'name',
  'expected name=…,targets=PROVIDER/MODEL, or a list of models',
).refine((value) => new Set(value.map(({ name }) => name)).size === value.length, {
  error: 'expected a different name for each, got one twice',
});

/** The parts of a target that {@link models} has taken. */
export function readTarget(written: string): {
  readonly weight: number;
  readonly provider: string;
  readonly model: string;
} {
  const { model = '', provider = '', weight = '1' } = targetPattern.exec(written)?.groups ?? {};
  return { model, provider, weight: Number(weight) };
}

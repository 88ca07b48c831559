import { z } from 'zod';
import { oneEntry } from './entries.ts';
import { isBareUrl } from './upstream.ts';
import { duration, text, variableName } from './values.ts';

/** Where a stage's service is, and its key. */
const service = {
  url: z
    .url({ protocol: /^(?:https?|wss?)$/, error: 'expected an http://, https://, ws:// or wss:// URL' })
    .refine(isBareUrl, {
      error: 'expected a URL without user, password and fragment (a key goes into apiKeyEnv or apiKeyFile)',
    })
    .transform((url) => url.replace(/\/+$/, ''))
    .optional()
    .describe("where its service is; default: the provider's URL, or the service's own"),
  apiKeyEnv: variableName
    .optional()
    .describe(
      "the environment variable with its key; default: the provider's key, or DEEPGRAM_API_KEY or ELEVENLABS_API_KEY, or the file that the variable with _FILE behind that name has",
    ),
  apiKeyFile: text.optional().describe('the file with its key, instead of apiKeyEnv'),
};

const oneKey = {
  isKept: ({ apiKeyEnv, apiKeyFile }: { apiKeyEnv?: string | undefined; apiKeyFile?: string | undefined }) =>
    apiKeyEnv === undefined || apiKeyFile === undefined,
  otherwise: { path: ['apiKeyFile'], error: 'expected apiKeyEnv or apiKeyFile, got both' },
};

/** What makes words of what callers say. */
const recogniseSchema = z
  .strictObject({
    model: z
      .string()
      .regex(
        /^(?:pocketsphinx|[\w.-]+\/\S+)$/,
        'expected NAME/MODEL with the name of a provider, deepgram/MODEL or pocketsphinx',
      )
      .describe(
        'what makes words of speech: NAME/MODEL with the name of a provider of the API openai, deepgram/MODEL, or pocketsphinx, a program on this machine',
      ),
    ...service,
    grammarFile: text
      .optional()
      .describe(
        'for pocketsphinx: the file with a grammar (JSGF) of all that callers may say; default: any English',
      ),
  })
  .refine(oneKey.isKept, oneKey.otherwise);

/** What speaks to callers. */
const speakSchema = z
  .strictObject({
    model: z
      .string()
      .regex(
        /^(?:flite|[\w.-]+\/\S+)$/,
        'expected NAME/MODEL with the name of a provider, elevenlabs/VOICE or flite',
      )
      .describe(
        'what speaks: NAME/MODEL with the name of a provider of the API openai, elevenlabs/VOICE with the id of a voice, or flite, a program on this machine',
      ),
    voiceModel: text.optional().describe("for elevenlabs: the model that speaks; default: the service's own"),
    ...service,
  })
  .refine(oneKey.isKept, oneKey.otherwise);

/** Who answers calls, where three models do together. */
const cascadeSchema = z.strictObject({
  recognise: oneEntry(
    recogniseSchema,
    'model',
    'expected a recogniser, as deepgram/nova-3, or keys with values',
  ).describe('what makes words of what callers say, alone or as keys with values'),
  reason: z
    .string('expected a model, as openai/gpt-4o-mini')
    .max(512, 'expected at most 512 characters')
    // A URL may have a password, and messages show the names of models.
    .regex(/^(?!.*:\/\/)\S+$/, 'expected a model, as openai/gpt-4o-mini, or a name of model:')
    .describe(
      'what makes the answer: NAME/MODEL with the name of a provider of the API openai, anthropic or gemini, or a name of `model` whose targets have one of them in common; its requests go through this gateway, of the tenant of calls',
    ),
  speak: oneEntry(
    speakSchema,
    'model',
    'expected a speaker, as elevenlabs/VOICE, or keys with values',
  ).describe('what speaks the answer, alone or as keys with values'),
  unheardMs: duration(0, 10_000)
    .default(800)
    .describe(
      'the next sentence is spoken when less than this of the answer is unheard; 0: when all of it was heard',
    ),
});

/** A recogniser, as an operator has configured it. */
export type RecogniseConfig = z.infer<typeof recogniseSchema>;
/** A speaker, as an operator has configured it. */
export type SpeakConfig = z.infer<typeof speakSchema>;
/** What an operator has configured for a cascade. */
export type CascadeConfig = z.infer<typeof cascadeSchema>;

/** A cascade, as an object: it is in the file alone. */
export const cascade = cascadeSchema;

/** The keys of a cascade and of its stages, with their descriptions. */
export const cascadeOptions = optionsOf(cascadeSchema.shape);
export const recogniseOptions = optionsOf(recogniseSchema.shape);
export const speakOptions = optionsOf(speakSchema.shape);

function optionsOf(
  shape: Readonly<Record<string, z.ZodType>>,
): readonly { readonly key: string; readonly description: string }[] {
  return Object.entries(shape).map(([key, field]) => ({ key, description: field.description ?? '' }));
}

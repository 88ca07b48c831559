import { z } from 'zod';
import { isConnectionHeader } from '../http/headers.ts';
import { isTenantName } from './api-key.ts';
import { cascade } from './cascade.ts';
import { oneEntry } from './entries.ts';
import { isThisMachine } from './loopback.ts';
import { isBareUrl } from './upstream.ts';
import { isSecretName } from './secret-name.ts';
import { count, duration, text, variableName } from './values.ts';

/** The longest text that a model is told, in characters: instructions of a page are some 3,000. */
export const maxInstructionChars = 65_536;
/** Twilio says at most so much. */
const maxSaidChars = 4096;
/** A model gets all tools in one message. */
const maxTools = 128;

const headerName = /^[\w!#$%&'*+.^`|~-]+$/;

const words = text.max(maxInstructionChars, `expected at most ${maxInstructionChars} characters`);

/** A web service that the model may ask while it answers. */
const toolSchema = z
  .strictObject({
    name: z
      .string()
      .regex(/^[\w-]{1,64}$/, 'expected letters, digits, "-" or "_", 64 at most')
      .describe('its name, for the model: letters, digits, "-", "_"'),
    description: words.describe('when the model is to ask for it, in words'),
    parameters: z
      .record(z.string(), z.unknown(), 'expected a JSON Schema')
      .default({ type: 'object', properties: {} })
      .describe('the JSON Schema of its arguments, an object; default: none are needed'),
    url: z
      .url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' })
      .refine(isBareUrl, {
        error: 'expected a URL without user, password and fragment (a key goes into apiKeyEnv or apiKeyFile)',
      })
      .describe('where the arguments are posted; what it answers is told to the model'),
    headers: z
      .record(
        z.string().regex(headerName, "expected a header's name").toLowerCase(),
        z.string().regex(/^[\x20-\x7e]*$/, 'expected a text of ASCII in one line'),
        'expected names of headers with their values',
      )
      .refine((headers) => Object.keys(headers).every((name) => !isConnectionHeader(name)), {
        error: 'expected headers that are no part of the HTTP itself, got others',
      })
      .refine((headers) => !Object.keys(headers).some(isSecretName), {
        error:
          'expected no secret (a key goes into apiKeyEnv or apiKeyFile), got a header with the name of one',
      })
      .default({})
      .describe('headers of the request, none of them a secret'),
    apiKeyEnv: variableName.optional().describe('the environment variable with its key'),
    apiKeyFile: text.optional().describe('the file with its key, instead of apiKeyEnv'),
    keyHeader: z
      .string()
      .regex(headerName, "expected a header's name")
      .toLowerCase()
      .refine((name) => !isConnectionHeader(name), 'expected a header that is no part of the HTTP itself')
      .default('authorization')
      .describe('the header that carries this key; authorization has it as Bearer KEY'),
    deadlineMs: duration(100, 120_000)
      .default(10_000)
      .describe('how long an answer may take; after it, the model is told fallback'),
    fallback: words
      .optional()
      .describe('what the model is told when there is no answer; default: that the tool cannot be used now'),
  })
  .refine(({ apiKeyEnv, apiKeyFile }) => apiKeyEnv === undefined || apiKeyFile === undefined, {
    path: ['apiKeyFile'],
    error: 'expected apiKeyEnv or apiKeyFile, got both',
  });

/** Who answers telephone calls, how, and whose they are. */
const voiceSchema = z
  .strictObject({
    model: z
      .string()
      .regex(/^(?:simulated|[\w.-]+\/\S+)$/, 'expected simulated, or NAME/MODEL with the name of a provider')
      .optional()
      .describe(
        'the realtime model that answers calls: NAME/MODEL with the name of a provider, as openai/gpt-realtime-2 or gemini/gemini-3.1-flash-live-preview, or simulated; or else cascade',
      ),
    cascade: cascade
      .optional()
      .describe(
        'three models that answer calls together, instead of model, in the file alone: one makes words of speech, one answers in words, one speaks them',
      ),
    publicUrl: z
      .url({ protocol: /^https?$/, error: 'expected an https:// URL' })
      .refine(isPublicUrl, {
        error:
          'expected an https:// URL without user, password, query and fragment (http:// for this machine alone)',
      })
      .refine((url) => !/\/voice\/twilio(?:\/ended)?\/*$/.test(url), {
        error:
          'expected the URL without /voice/twilio, which the gateway adds itself, as https://calls.example',
      })
      .transform((url) => url.replace(/\/+$/, ''))
      .optional()
      .describe(
        "the gateway's URL as the carrier reaches it, without /voice/twilio; requests are signed for it",
      ),
    tenant: z
      .string('expected the name of a tenant')
      .refine(isTenantName, 'expected the name of a tenant, of lower-case letters, digits, ".", "_" and "-"')
      .optional()
      .describe(
        'the tenant whose limits hold for calls, and in whose account they are; default: none, and no limits hold',
      ),
    authTokenEnv: variableName
      .optional()
      .describe(
        'the environment variable with the auth token of the account at Twilio, with which requests are signed; default: TWILIO_AUTH_TOKEN, or the file that TWILIO_AUTH_TOKEN_FILE names',
      ),
    authTokenFile: text.optional().describe('the file with this token, instead of authTokenEnv'),
    voice: text.optional().describe("the model's voice, as marin; default: the model's own"),
    instructions: words.optional().describe('what the model is to know and to do'),
    instructionsFile: text.optional().describe('the file with this text, instead of instructions'),
    greeting: z
      .string('expected a text')
      .max(maxInstructionChars, `expected at most ${maxInstructionChars} characters`)
      .default('Say hello.')
      .describe('what the model is asked to say first; an empty text lets it wait for the caller'),
    language: z
      .string()
      .regex(/^[a-z]{2,3}(?:-[A-Z]{2})?$/, 'expected a language, as en or en-US')
      .optional()
      .describe('the language of the call, as en or en-US; default: the model finds out'),
    tools: z
      .array(toolSchema, 'expected a list of tools')
      .max(maxTools, `expected at most ${maxTools} tools`)
      .refine((tools) => new Set(tools.map(({ name }) => name)).size === tools.length, {
        error: 'expected a different name for each, got one twice',
      })
      .default([])
      .describe('web services that the model may ask while it answers, in the file alone'),
    fillerFile: text
      .regex(/\.(?:wav|ulaw)$/i, 'expected a file with a name that ends in .wav or .ulaw')
      .optional()
      .describe(
        'the file with what a caller hears again and again while a tool works and nobody speaks: .wav (mono, 8,000 samples a second, µ-law or 16 bits) or .ulaw; default: silence',
      ),
    failureSay: text
      .max(maxSaidChars, `expected at most ${maxSaidChars} characters`)
      .default('Sorry, this did not work. Please call again later.')
      .describe('what a caller hears when the model fails, or when no call is taken'),
    failureDial: z
      // YAML reads +15550100 without quotes as a number, and forgets its plus.
      .string('expected a telephone number in quotes, as "+15550100"')
      .regex(/^\+?\d{3,15}$/, 'expected a telephone number, as +15550100')
      .optional()
      .describe(
        'the telephone number that the caller is then connected with; default: none, and Twilio hangs up',
      ),
    onShortNoise: z
      .enum(['drop', 'resume'])
      .default('drop')
      .describe(
        'what a noise does that is too short for speech, such as a cough: drop ends the answer as speech does, resume is silent for a moment and goes on',
      ),
    windowMs: duration(600, 1000)
      .default(800)
      .describe('speech that may be on its way to the ear and not be heard yet'),
    maxAnswerMs: duration(1000, 3_600_000)
      .default(120_000)
      .describe('speech of an answer that may wait; a longer one is ended at a pause'),
    maxDurationMs: duration(1000).default(3_600_000).describe('how long a call may be; after it, it ends'),
    maxCalls: count(1, 10_000).default(100).describe('calls that run at once; one more hears failureSay'),
  })
  .refine(({ authTokenEnv, authTokenFile }) => authTokenEnv === undefined || authTokenFile === undefined, {
    path: ['authTokenFile'],
    error: 'expected authTokenEnv or authTokenFile, got both',
  })
  .refine(
    ({ instructions, instructionsFile }) => instructions === undefined || instructionsFile === undefined,
    { path: ['instructionsFile'], error: 'expected instructions or instructionsFile, got both' },
  )
  .refine(({ cascade: three, model }) => three !== undefined || model !== undefined, {
    path: ['model'],
    error: 'expected model or cascade, got none of both',
  })
  .refine(({ cascade: three, model }) => three === undefined || model === undefined, {
    path: ['cascade'],
    error: 'expected model or cascade, got both',
  });

/** What an operator has configured for telephone calls. */
export type VoiceConfig = z.infer<typeof voiceSchema>;

/** A tool, as an operator has configured it. */
export type ToolConfig = z.infer<typeof toolSchema>;

/** The keys of `voice`, with their descriptions. */
export const voiceOptions = optionsOf(voiceSchema.shape);

/** The keys of a tool, with their descriptions. */
export const toolOptions = optionsOf(toolSchema.shape);

/** Calls as text, `model=openai/gpt-realtime-2,publicUrl=https://…`, or as an object. */
export const voice = oneEntry(
  voiceSchema,
  'model',
  'expected a model, model=…,publicUrl=…, or keys with values',
);

/** The settings of calls with the simulated model, where nobody has configured others. */
export function simulatedVoice(): VoiceConfig {
  return voiceSchema.parse({ model: 'simulated' });
}

function optionsOf(
  shape: Readonly<Record<string, z.ZodType>>,
): readonly { readonly key: string; readonly description: string }[] {
  return Object.entries(shape).map(([key, field]) => ({ key, description: field.description ?? '' }));
}

/** Whether a carrier can ask at a URL, or, for a carrier's double, this machine. */
function isPublicUrl(value: string): boolean {
  // A text that is no URL was refused already, by another check.
  if (!URL.canParse(value)) return true;
  const { hash, hostname, password, protocol, search, username } = new URL(value);
  const isBare = username === '' && password === '' && search === '' && hash === '';
  return isBare && (protocol === 'https:' || isThisMachine(hostname));
}

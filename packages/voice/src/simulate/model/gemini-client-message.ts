import { z } from 'zod';

/** Why a simulated Gemini closes a connection: it has no other way to say no. */
export class GeminiRefusal extends Error {
  override readonly name = 'GeminiRefusal';
  /** The close code: 1007 for what is wrong, 1008 for what there is not, 1011 for what is used up. */
  readonly code: 1007 | 1008 | 1011;

  constructor(code: 1007 | 1008 | 1011, reason: string) {
    super(reason);
    this.code = code;
  }
}

/** What the API says of most that is wrong. */
export const invalidArgument = 'Request contains an invalid argument.';

const blob = z.strictObject({ mimeType: z.string(), data: z.string(), displayName: z.string().optional() });
const part = z.strictObject({
  text: z.string().optional(),
  inlineData: blob.optional(),
  thought: z.boolean().optional(),
});
const content = z.strictObject({ role: z.string().optional(), parts: z.array(part).min(1) });

const schemaTypes = ['STRING', 'NUMBER', 'INTEGER', 'BOOLEAN', 'ARRAY', 'OBJECT', 'NULL'] as const;
const count = z.union([z.int(), z.string().regex(/^\d+$/)]).optional();

/** The API's own kind of schema: what JSON Schema has beside it is unknown to it. */
const schema = z.strictObject({
  type: z.enum([...schemaTypes, ...schemaTypes.map((name) => name.toLowerCase())]).optional(),
  format: z.string().optional(),
  title: z.string().optional(),
  description: z.string().optional(),
  nullable: z.boolean().optional(),
  enum: z.array(z.string()).optional(),
  default: z.unknown().optional(),
  example: z.unknown().optional(),
  pattern: z.string().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  minItems: count,
  maxItems: count,
  minLength: count,
  maxLength: count,
  minProperties: count,
  maxProperties: count,
  required: z.array(z.string()).optional(),
  propertyOrdering: z.array(z.string()).optional(),
  get items() {
    return schema.optional();
  },
  get properties() {
    return z.record(z.string(), schema).optional();
  },
  get anyOf() {
    return z.array(schema).optional();
  },
});

const functionDeclaration = z.strictObject({
  name: z.string().regex(/^[A-Za-z_][\w.:-]{0,127}$/),
  description: z.string().optional(),
  parameters: schema.optional(),
  parametersJsonSchema: z.unknown().optional(),
  response: schema.optional(),
  responseJsonSchema: z.unknown().optional(),
  behavior: z.enum(['UNSPECIFIED', 'BLOCKING', 'NON_BLOCKING']).optional(),
});

const tool = z.strictObject({
  functionDeclarations: z.array(functionDeclaration).optional(),
  googleSearch: z.looseObject({}).optional(),
  codeExecution: z.looseObject({}).optional(),
  urlContext: z.looseObject({}).optional(),
});

const transcription = z.strictObject({ languageCodes: z.array(z.string()).optional() });

const setup = z.strictObject({
  model: z.string().regex(/^models\/[\w.-]+$/),
  generationConfig: z
    .strictObject({
      // The real one also makes text alone, with models that have no voice of their own.
      responseModalities: z.tuple([z.literal('AUDIO')]).optional(),
      temperature: z.number().min(0).max(2).optional(),
      topP: z.number().min(0).max(1).optional(),
      topK: z.number().optional(),
      candidateCount: z.int().optional(),
      maxOutputTokens: z.int().min(1).optional(),
      presencePenalty: z.number().optional(),
      frequencyPenalty: z.number().optional(),
      seed: z.int().optional(),
      mediaResolution: z.string().optional(),
      enableAffectiveDialog: z.boolean().optional(),
      thinkingConfig: z.looseObject({}).optional(),
      speechConfig: z
        .strictObject({
          languageCode: z.string().optional(),
          voiceConfig: z
            .strictObject({ prebuiltVoiceConfig: z.strictObject({ voiceName: z.string() }).optional() })
            .optional(),
        })
        .optional(),
    })
    .optional(),
  systemInstruction: content.optional(),
  tools: z.array(tool).optional(),
  realtimeInputConfig: z
    .strictObject({
      automaticActivityDetection: z
        .strictObject({
          disabled: z.boolean().optional(),
          startOfSpeechSensitivity: z.enum(['START_SENSITIVITY_HIGH', 'START_SENSITIVITY_LOW']).optional(),
          endOfSpeechSensitivity: z.enum(['END_SENSITIVITY_HIGH', 'END_SENSITIVITY_LOW']).optional(),
          prefixPaddingMs: z.int().min(0).optional(),
          silenceDurationMs: z.int().min(0).optional(),
        })
        .optional(),
      activityHandling: z.enum(['START_OF_ACTIVITY_INTERRUPTS', 'NO_INTERRUPTION']).optional(),
      turnCoverage: z.string().startsWith('TURN_INCLUDES_').optional(),
    })
    .optional(),
  sessionResumption: z
    .strictObject({ handle: z.string().optional(), transparent: z.boolean().optional() })
    .optional(),
  contextWindowCompression: z
    .strictObject({
      triggerTokens: count,
      slidingWindow: z.strictObject({ targetTokens: count }).optional(),
    })
    .optional(),
  inputAudioTranscription: transcription.optional(),
  outputAudioTranscription: transcription.optional(),
  proactivity: z.strictObject({ proactiveAudio: z.boolean().optional() }).optional(),
  historyConfig: z.strictObject({ initialHistoryInClientContent: z.boolean().optional() }).optional(),
});

const clientContent = z.strictObject({
  turns: z.array(content).optional(),
  turnComplete: z.boolean().optional(),
});

const realtimeInput = z.strictObject({
  audio: blob.optional(),
  video: blob.optional(),
  mediaChunks: z.array(blob).optional(),
  text: z.string().optional(),
  audioStreamEnd: z.boolean().optional(),
  activityStart: z.strictObject({}).optional(),
  activityEnd: z.strictObject({}).optional(),
});

const toolResponse = z.strictObject({
  functionResponses: z
    .array(
      z.strictObject({
        id: z.string(),
        name: z.string(),
        response: z.record(z.string(), z.unknown()),
        willContinue: z.boolean().optional(),
        scheduling: z.enum(['SILENT', 'WHEN_IDLE', 'INTERRUPT']).optional(),
      }),
    )
    .min(1),
});

/** How a client sets a session up. */
export type GeminiSetup = z.infer<typeof setup>;

/** What a client says while its session runs. */
export type GeminiClientContent = z.infer<typeof clientContent>;
export type GeminiRealtimeInput = z.infer<typeof realtimeInput>;
export type GeminiToolResponse = z.infer<typeof toolResponse>;

const clientMessage = z.strictObject({
  setup: setup.optional(),
  clientContent: clientContent.optional(),
  realtimeInput: realtimeInput.optional(),
  toolResponse: toolResponse.optional(),
});

/** One message of a client; one of its fields is there. */
export type GeminiClientMessage = z.infer<typeof clientMessage>;

/**
 * Reads a message of a client, as strictly as the API does.
 *
 * @throws {GeminiRefusal}
 */
export function readGeminiClientMessage(text: string): GeminiClientMessage {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    throw new GeminiRefusal(1007, 'Invalid JSON payload received.');
  }
  const result = clientMessage.safeParse(message);
  if (!result.success) throw refusalOf(result.error.issues[0]);
  if (Object.keys(result.data).length !== 1) throw new GeminiRefusal(1007, invalidArgument);
  return result.data;
}

function refusalOf(issue: z.core.$ZodIssue | undefined): GeminiRefusal {
  if (issue?.code !== 'unrecognized_keys') return new GeminiRefusal(1007, invalidArgument);
  const place = issue.path
    .map((one, index) => (typeof one === 'number' ? `[${one}]` : `${index === 0 ? '' : '.'}${String(one)}`))
    .join('');
  const where = place === '' ? '' : ` at '${place}'`;
  return new GeminiRefusal(
    1007,
    `Invalid JSON payload received. Unknown name "${issue.keys[0] ?? ''}"${where}: Cannot find field.`,
  );
}

import { z } from 'zod';

const transcription = z.object({ text: z.string().optional(), finished: z.boolean().optional() });

/** What means something to a call. Of fields, only those: an API may say more. */
const serverMessage = z.object({
  setupComplete: z.object({}).optional(),
  serverContent: z
    .object({
      modelTurn: z
        .object({
          parts: z
            .array(
              z.object({
                inlineData: z.object({ mimeType: z.string().default(''), data: z.string() }).optional(),
              }),
            )
            .default([]),
        })
        .optional(),
      inputTranscription: transcription.optional(),
      outputTranscription: transcription.optional(),
      interrupted: z.boolean().optional(),
      generationComplete: z.boolean().optional(),
      turnComplete: z.boolean().optional(),
    })
    .optional(),
  toolCall: z
    .object({
      functionCalls: z
        .array(
          z.object({ id: z.string(), name: z.string(), args: z.record(z.string(), z.unknown()).default({}) }),
        )
        .default([]),
    })
    .optional(),
  toolCallCancellation: z.object({ ids: z.array(z.string()).default([]) }).optional(),
  usageMetadata: z
    .object({
      promptTokenCount: z.number().default(0),
      toolUsePromptTokenCount: z.number().default(0),
      responseTokenCount: z.number().default(0),
      thoughtsTokenCount: z.number().default(0),
    })
    .optional(),
  goAway: z.object({ timeLeft: z.string().optional() }).optional(),
  sessionResumptionUpdate: z
    .object({ newHandle: z.string().optional(), resumable: z.boolean().optional() })
    .optional(),
});

/** One message of the API. It may say several things at once. */
export type GeminiMessage = z.infer<typeof serverMessage>;
export type GeminiContent = NonNullable<GeminiMessage['serverContent']>;

/**
 * Reads a message of the API. A text says what is wrong with a message; it has nothing of the message's content but field
 * names.
 */
export function readGeminiMessage(text: string): GeminiMessage | { readonly wrong: string } {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return { wrong: `expected JSON, got ${text.length} characters that are none` };
  }
  const result = serverMessage.safeParse(message);
  if (result.success) return result.data;
  const path = result.error.issues[0]?.path.join('.') ?? '';
  return { wrong: path === '' ? 'expected an object' : `${path} is not what was expected` };
}

/** A duration as the API writes it, `9.5s`, in milliseconds; `undefined` if it is none. */
export function msOfDuration(text: string | undefined): number | undefined {
  const match = /^(\d+(?:\.\d+)?)s$/.exec(text ?? '');
  return match === null ? undefined : Number(match[1]) * 1000;
}

/** What a close of the API means. It says why in words alone. */
export function geminiEndOf(closeCode: number, reason: string): { code: string; message: string } {
  const code = /api key|permission|unauthenticated|credential/i.test(reason)
    ? 'unauthorized'
    : /quota|rate limit|exhausted/i.test(reason)
      ? 'rate_limited'
      : /abort|session (?:duration|expired)|deadline/i.test(reason)
        ? 'expired'
        : closeCode === 1007 || closeCode === 1008
          ? 'refused'
          : 'lost';
  return {
    code,
    message: `It closed the connection with code ${closeCode}${reason && `: ${reason.replace(/\.$/u, '')}`}.`,
  };
}

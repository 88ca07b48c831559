import { z } from 'zod';

/** Times are in seconds of all audio that was sent. */
const seconds = z.number().min(0).max(10_000_000);

const results = z.object({
  type: z.literal('Results'),
  start: seconds,
  duration: seconds,
  is_final: z.boolean().default(false),
  /** The answer to `Finalize`. */
  from_finalize: z.boolean().nullish(),
  channel: z.object({
    alternatives: z
      .array(
        z.object({
          transcript: z.string(),
          words: z
            .array(
              z.object({
                word: z.string(),
                /** With its capital and its comma. */
                punctuated_word: z.string().nullish(),
                start: seconds,
                end: seconds,
              }),
            )
            .default([]),
        }),
      )
      .min(1),
  }),
});

/** Words of some audio. Of fields, only those that mean something here: the API says more. */
export type DeepgramResults = z.infer<typeof results>;

const complaint = z.object({
  type: z.enum(['Error', 'Warning']),
  variant: z.string().nullish(),
  code: z.string().nullish(),
});

/** What came: words, a complaint with its code, nothing that matters, or what is wrong with the message. */
export type DeepgramMessage =
  | DeepgramResults
  | { readonly type: 'Complaint'; readonly code: string }
  | 'ignored'
  | { readonly wrong: string };

/** Reads a message. What is wrong with one has nothing of its content but field names. */
export function readDeepgramMessage(text: string): DeepgramMessage {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return { wrong: `expected JSON, got ${text.length} characters that are none` };
  }
  const named = z.looseObject({ type: z.string() }).safeParse(message);
  if (!named.success) return { wrong: 'expected an object with a type' };
  const { type } = named.data;
  if (type === 'Error' || type === 'Warning') {
    const { code, variant } = complaint.safeParse(message).data ?? {};
    return { type: 'Complaint', code: codeOf(code ?? variant ?? '') };
  }
  if (type !== 'Results') return 'ignored';
  const result = results.safeParse(message);
  if (result.success) return result.data;
  return { wrong: `Results: ${result.error.issues[0]?.path.join('.') ?? ''} is not what was expected` };
}

/** A code of somebody else, if it looks like one: a text could have anything in it. */
function codeOf(text: string): string {
  return /^[\w.-]{1,64}$/.test(text) ? text : 'error';
}

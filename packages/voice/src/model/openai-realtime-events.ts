import { z } from 'zod';

/** Events that the beta of the API names otherwise. */
const gaNames: Readonly<Record<string, string>> = {
  'response.audio.delta': 'response.output_audio.delta',
  'response.audio.done': 'response.output_audio.done',
  'response.audio_transcript.delta': 'response.output_audio_transcript.delta',
  'response.audio_transcript.done': 'response.output_audio_transcript.done',
};

const ofPart = { response_id: z.string(), item_id: z.string(), content_index: z.int().min(0) };
const ofItem = { item_id: z.string() };
const apiError = z.object({
  code: z.string().nullish(),
  message: z.string().default(''),
  param: z.string().nullish(),
  event_id: z.string().nullish(),
});

/** The events that mean something to a call. Of fields, only those: an API may say more. */
const serverEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('session.updated') }),
  z.object({
    type: z.literal('response.created'),
    response: z.object({ id: z.string(), metadata: z.record(z.string(), z.string()).nullish() }),
  }),
  z.object({ type: z.literal('response.output_audio.delta'), ...ofPart, delta: z.string() }),
  z.object({ type: z.literal('response.output_audio.done'), ...ofPart }),
  z.object({ type: z.literal('response.output_audio_transcript.delta'), ...ofPart, delta: z.string() }),
  z.object({ type: z.literal('response.output_audio_transcript.done'), ...ofPart, transcript: z.string() }),
  z.object({
    type: z.literal('response.output_item.done'),
    response_id: z.string(),
    item: z.object({
      type: z.string(),
      status: z.string().nullish(),
      call_id: z.string().optional(),
      name: z.string().optional(),
      arguments: z.string().optional(),
    }),
  }),
  z.object({
    type: z.literal('response.done'),
    response: z.object({
      id: z.string(),
      status: z.string(),
      status_details: z.object({ error: apiError.nullish() }).nullish(),
      usage: z
        .object({ input_tokens: z.number().default(0), output_tokens: z.number().default(0) })
        .nullish(),
    }),
  }),
  z.object({
    type: z.literal('conversation.item.input_audio_transcription.delta'),
    ...ofItem,
    delta: z.string().default(''),
  }),
  z.object({
    type: z.literal('conversation.item.input_audio_transcription.completed'),
    ...ofItem,
    transcript: z.string(),
    // Some models that write down words say how long they were instead.
    usage: z.object({ input_tokens: z.number(), output_tokens: z.number() }).nullish().catch(undefined),
  }),
  z.object({ type: z.literal('input_audio_buffer.speech_started'), audio_start_ms: z.number() }),
  z.object({ type: z.literal('input_audio_buffer.speech_stopped'), audio_end_ms: z.number() }),
  z.object({ type: z.literal('error'), error: apiError }),
]);

/** One event of the API that means something to a call. */
export type RealtimeEvent = z.infer<typeof serverEvent>;

const knownTypes: ReadonlySet<string> = new Set(
  serverEvent.options.flatMap(({ shape }) => [...shape.type.values]),
);

/**
 * Reads a message of the API. `ignored`: an event that means nothing to a call, such as one that the API got later. A text
 * says what is wrong with a message; it has nothing of the message's content but field names.
 */
export function readRealtimeEvent(text: string): RealtimeEvent | 'ignored' | { readonly wrong: string } {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return { wrong: `expected JSON, got ${text.length} characters that are none` };
  }
  const named = z.looseObject({ type: z.string() }).safeParse(message);
  if (!named.success) return { wrong: 'expected an object with a type' };
  const type = gaNames[named.data.type] ?? named.data.type;
  if (!knownTypes.has(type)) return 'ignored';
  const result = serverEvent.safeParse({ ...named.data, type });
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  return { wrong: `${type}: ${issue?.path.join('.') ?? ''} is not what was expected` };
}

import type { RawData } from 'ws';
import { z } from 'zod';
import { checked, Refusal } from './refusal.ts';
import { common, sessionUpdate } from './session-settings.ts';

const id = { event_id: z.string().max(512).optional() };
const known = { id: z.string().min(1).max(64).optional(), object: z.literal('realtime.item').optional() };
const status = z.enum(['completed', 'incomplete', 'in_progress']).optional();

const item = z.discriminatedUnion('type', [
  z.strictObject({
    ...known,
    type: z.literal('message'),
    role: z.enum(['user', 'assistant', 'system']),
    status,
    content: z.array(
      z.discriminatedUnion('type', [
        z.strictObject({ type: z.literal('input_text'), text: z.string() }),
        z.strictObject({ type: z.literal('output_text'), text: z.string() }),
        z.looseObject({ type: z.literal('input_audio') }),
        z.looseObject({ type: z.literal('output_audio') }),
        z.looseObject({ type: z.literal('input_image') }),
      ]),
    ),
  }),
  z.strictObject({
    ...known,
    type: z.literal('function_call'),
    status,
    call_id: z.string().optional(),
    name: z.string(),
    arguments: z.string(),
  }),
  z.strictObject({
    ...known,
    type: z.literal('function_call_output'),
    status,
    call_id: z.string(),
    output: z.string(),
  }),
]);

/** An item that a client puts into the conversation. */
export type ClientItem = z.infer<typeof item>;

const clientEvent = z.discriminatedUnion('type', [
  z.strictObject({ ...id, type: z.literal('session.update'), session: sessionUpdate }),
  z.strictObject({ ...id, type: z.literal('input_audio_buffer.append'), audio: z.string() }),
  z.strictObject({ ...id, type: z.literal('input_audio_buffer.commit') }),
  z.strictObject({ ...id, type: z.literal('input_audio_buffer.clear') }),
  z.strictObject({
    ...id,
    type: z.literal('conversation.item.create'),
    previous_item_id: z.string().nullish(),
    item,
  }),
  z.strictObject({ ...id, type: z.literal('conversation.item.retrieve'), item_id: z.string() }),
  z.strictObject({ ...id, type: z.literal('conversation.item.delete'), item_id: z.string() }),
  z.strictObject({
    ...id,
    type: z.literal('conversation.item.truncate'),
    item_id: z.string(),
    content_index: z.int(),
    audio_end_ms: z.int(),
  }),
  z.strictObject({
    ...id,
    type: z.literal('response.create'),
    response: z
      .strictObject({
        ...common,
        audio: z.strictObject({ output: z.looseObject({}).optional() }).optional(),
        // The real model answers beside the conversation, too.
        conversation: z.literal('auto').optional(),
        metadata: z.record(z.string(), z.string()).nullish(),
      })
      .optional(),
  }),
  z.strictObject({ ...id, type: z.literal('response.cancel'), response_id: z.string().optional() }),
]);

/** What a client may send. */
export type ClientEvent = z.infer<typeof clientEvent>;

const types = clientEvent.options.flatMap(({ shape }) => [...shape.type.values]);

/**
 * Reads an event of a client, as strictly as the API does.
 *
 * @throws {Refusal}
 */
export function readClientEvent(message: unknown): ClientEvent {
  const { type } = checked(z.looseObject({ type: z.string() }), message);
  if (!types.some((one) => one === type))
    throw new Refusal(
      'invalid_value',
      `Invalid value: '${type.slice(0, 64)}'. Supported values are: ${types.map((one) => `'${one}'`).join(', ')}.`,
      'type',
    );
  return checked(clientEvent, message);
}

/** What stands in a message of a client. */
export function parsedMessage(data: RawData, isBinary: boolean): unknown {
  if (isBinary)
    throw new Refusal('invalid_event', 'Expected a text message with one event, got a binary one.');
  try {
    return JSON.parse((data as Buffer).toString('utf8'));
  } catch {
    throw new Refusal('invalid_json', 'Expected a text message with one event as JSON, got something else.');
  }
}

import type { ConversationEvent } from '@spillway/core/format/conversation';
import type { TappedConversation } from '@spillway/server/tap/tapped-conversation';

/** What is parsed of a provider: a larger event has no words that anybody said. A client may have made its own larger. */
const maxWordsBytes = 1_048_576;

/** An event as it may have come: nothing about it is sure. */
interface Raw {
  readonly item?: unknown;
  readonly error?: unknown;
  readonly [name: string]: unknown;
}

type Read = (event: Raw) => readonly ConversationEvent[];

/** What the model's events say of a conversation; names of the beta, too. All other events say nothing of it. */
const ofProvider: Readonly<Record<string, Read>> = {
  'conversation.item.input_audio_transcription.completed': (event) => words('heard', event, 'transcript'),
  'response.output_audio_transcript.done': (event) => words('said', event, 'transcript'),
  'response.audio_transcript.done': (event) => words('said', event, 'transcript'),
  'response.output_text.done': (event) => words('said', event, 'text'),
  'response.text.done': (event) => words('said', event, 'text'),
  'response.output_item.done': ({ item }) => {
    const { arguments: input, call_id: call, name, type } = objectOf(item);
    if (type !== 'function_call') return [];
    return [{ type: 'tool_called', call: textOf(call), name: textOf(name), input: textOf(input) }];
  },
  'conversation.item.truncated': ({ audio_end_ms: heardMs, item_id: item }) =>
    typeof heardMs === 'number' ? [{ type: 'interrupted', item: textOf(item), heardMs }] : [],
  error: ({ error }) => {
    const { code, message } = objectOf(error);
    return [{ type: 'failed', code: textOf(code), message: textOf(message) }];
  },
};

/** What the client's events say. */
const ofClient: Readonly<Record<string, Read>> = {
  'conversation.item.create': ({ item }) => {
    const { call_id: call, content, id, output, role, type } = objectOf(item);
    if (type === 'function_call_output')
      return [{ type: 'tool_answered', call: textOf(call), output: textOf(output) }];
    if (role !== 'user' || !Array.isArray(content)) return [];
    const texts = content.map((part) => textOf(objectOf(part)['text'])).filter((text) => text !== '');
    return texts.map((text) => ({ type: 'heard', item: textOf(id) || undefined, text }));
  },
};

const ofProviderAudio: Readonly<Record<string, string>> = {
  'response.output_audio.delta': 'delta',
  'response.audio.delta': 'delta',
};
const ofClientAudio: Readonly<Record<string, string>> = { 'input_audio_buffer.append': 'audio' };

/** Writes down a relayed conversation: of the API's events, what taps keep. Only those are parsed. */
export class RealtimeRecord {
  readonly #conversation: Pick<TappedConversation, 'add' | 'wantsAudio'>;

  constructor(conversation: Pick<TappedConversation, 'add' | 'wantsAudio'>) {
    this.#conversation = conversation;
  }

  /** A message of the model. `type`: of the event. */
  fromProvider(bytes: Buffer, type: string): void {
    this.#take(bytes, type, ofProvider, ofProviderAudio, 'model');
  }

  /** A message of the client. `type`: of the event; `undefined`: nobody knows which of two the provider takes. */
  fromClient(bytes: Buffer, type: string | undefined): void {
    this.#take(bytes, type ?? 'conversation.item.create', ofClient, ofClientAudio, 'human');
  }

  #take(
    bytes: Buffer,
    type: string,
    known: Readonly<Record<string, Read>>,
    audio: Readonly<Record<string, string>>,
    from: 'human' | 'model',
  ): void {
    const read = known[type];
    const sound = this.#conversation.wantsAudio ? audio[type] : undefined;
    if (read === undefined && sound === undefined) return;
    if (from === 'model' && sound === undefined && bytes.length > maxWordsBytes) return;
    const event = parsed(bytes);
    if (sound !== undefined) this.#conversation.add({ type: 'audio', from, data: textOf(event[sound]) });
    else for (const one of read?.(event) ?? []) this.#conversation.add(one);
  }
}

function words(type: 'heard' | 'said', event: Raw, name: string): readonly ConversationEvent[] {
  const text = textOf(event[name]);
  return text === '' ? [] : [{ type, item: textOf(event['item_id']) || undefined, text }];
}

function parsed(bytes: Buffer): Raw {
  try {
    return objectOf(JSON.parse(bytes.toString('utf8')));
  } catch {
    return {};
  }
}

function objectOf(value: unknown): Raw {
  return typeof value === 'object' && value !== null ? (value as Raw) : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

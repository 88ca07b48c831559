import { expect, test } from 'vitest';
import type { TokenUsage } from '@spillway/core/format/format';
import { eventTypeOf } from '../src/realtime/event-type.ts';
import { RealtimeUsage } from '../src/realtime/realtime-usage.ts';

const event = (type: string, more: object = {}): Buffer =>
  Buffer.from(JSON.stringify({ type, event_id: 'e', ...more }));
const usage = (input: number, output: number): object => ({
  response: { usage: { input_tokens: input, output_tokens: output } },
});
const second = (bytes: number): string => Buffer.alloc(bytes).toString('base64');

/** A conversation whose messages are looked at as they are relayed. */
class Conversation {
  readonly #usage = new RealtimeUsage();

  get total(): TokenUsage | undefined {
    return this.#usage.total;
  }

  get unreported(): TokenUsage | undefined {
    return this.#usage.unreported;
  }

  asked(bytes: Buffer): void {
    this.#usage.asked(bytes, eventTypeOf(bytes));
  }

  take(bytes: Buffer): boolean {
    return this.#usage.take(bytes, eventTypeOf(bytes) ?? '');
  }
}

test('only an answer that is under way is unreported, also one that was asked for and has not begun', () => {
  const conversation = new Conversation();
  expect(conversation.unreported).toBeUndefined();
  conversation.asked(event('conversation.item.create', { item: 'x'.repeat(400) }));
  expect(conversation.unreported).toBeUndefined();
  conversation.asked(event('response.create', { event_id: 'r' }));
  expect(conversation.unreported?.inputTokens).toBeGreaterThan(100);
  conversation.take(event('error', { error: { event_id: 'r' } }));
  expect(conversation.unreported).toBeUndefined();
  conversation.take(event('response.created'));
  conversation.take(event('response.output_text.delta', { delta: 'word' }));
  expect(conversation.unreported?.outputTokens).toBe(1);
  expect(conversation.take(event('response.done', usage(120, 30)))).toBe(true);
  expect(conversation.unreported).toBeUndefined();
});

test('the next prompt has all of the last answer, and what the human said since, without silence', () => {
  const conversation = new Conversation();
  conversation.take(event('response.done', usage(1000, 200)));
  const sound = event('input_audio_buffer.append', { audio: second(48_000) });
  for (let seconds = 0; seconds < 60; seconds += 1) conversation.asked(sound);
  conversation.take(event('input_audio_buffer.speech_started'));
  for (let seconds = 0; seconds < 5; seconds += 1) conversation.asked(sound);
  conversation.take(event('input_audio_buffer.committed'));
  // What the other model wrote down is no answer.
  const words = 'conversation.item.input_audio_transcription';
  conversation.take(event(`${words}.delta`, { delta: 'x'.repeat(4000) }));
  conversation.take(event(`${words}.completed`, { usage: { input_tokens: 7, output_tokens: 3 } }));
  conversation.take(event('response.created'));
  const { inputTokens = 0, outputTokens } = conversation.unreported ?? {};
  expect(inputTokens).toBeGreaterThanOrEqual(1250);
  expect(inputTokens).toBeLessThan(1260);
  expect(outputTokens).toBe(0);
  expect(conversation.total).toEqual({ inputTokens: 1007, outputTokens: 203 });
});

test.each([
  ['PCM', { session: { audio: { output: { format: { type: 'audio/pcm', rate: 24_000 } } } } }, 48_000],
  ['G.711', { session: { audio: { output: { format: { type: 'audio/pcmu' } } } } }, 8000],
  ['G.711 of the beta', { session: { output_audio_format: 'g711_alaw' } }, 8000],
])('a second of sound has twenty tokens, as %s', (_what, session, bytes) => {
  const conversation = new Conversation();
  conversation.take(event('session.updated', session));
  conversation.take(event('response.created'));
  conversation.take(event('response.output_audio.delta', { delta: second(bytes) }));
  expect(conversation.unreported?.outputTokens).toBeGreaterThanOrEqual(20);
  expect(conversation.unreported?.outputTokens).toBeLessThanOrEqual(22);
});

test('of several answers at once each has its prompt, and none is forgotten before all have ended', () => {
  const conversation = new Conversation();
  conversation.take(event('response.done', usage(900, 100)));
  conversation.take(event('response.created'));
  conversation.take(event('response.created'));
  conversation.take(event('response.output_text.delta', { delta: 'word' }));
  expect(conversation.unreported).toEqual({ inputTokens: 2000, outputTokens: 1 });
  conversation.take(event('response.done', usage(1000, 20)));
  expect(conversation.unreported).toEqual({ inputTokens: 1020, outputTokens: 1 });
  // One that is too large to be read has ended, too, and nobody says what it cost.
  conversation.take(event('response.done', { transcript: 'x'.repeat(1_100_000) }));
  expect(conversation.unreported).toEqual({ inputTokens: 1020, outputTokens: 1 });
});

test('an answer that ends without a report costs the estimate; one that failed before its first word costs nothing', () => {
  const conversation = new Conversation();
  conversation.take(event('response.done', usage(900, 100)));
  conversation.take(event('response.created'));
  conversation.take(event('response.output_text.delta', { delta: 'word' }));
  // Whoever asks is told, so that a limit may end the conversation.
  expect(conversation.take(event('response.done', { response: { status: 'cancelled' } }))).toBe(true);
  expect(conversation.unreported).toEqual({ inputTokens: 1000, outputTokens: 1 });
  conversation.take(event('response.created'));
  conversation.take(event('response.done', { response: { status: 'failed', usage: null } }));
  expect(conversation.unreported).toEqual({ inputTokens: 1000, outputTokens: 1 });
  conversation.take(event('response.created'));
  expect(conversation.unreported).toEqual({ inputTokens: 2001, outputTokens: 1 });
});

test.each([
  [
    'an id',
    event('conversation.item.added', { previous_item_id: 'response.done', item: { id: 'response.done' } }),
  ],
  ['an item', event('conversation.item.added', { item: { type: 'response.done', usage: {} } })],
  ['a text', event('conversation.item.added', { item: { text: '"type":"response.done"' } })],
])('what only has the name of an event in %s ends no answer', (_what, added) => {
  const conversation = new Conversation();
  conversation.take(event('response.created'));
  conversation.take(event('response.output_text.delta', { delta: 'word' }));
  expect(conversation.take(added)).toBe(false);
  expect(conversation.unreported).toEqual({ inputTokens: 0, outputTokens: 1 });
});

const text = `"item":{"type":"message","content":[{"type":"input_text","text":"${'word '.repeat(8000)}"}]}`;
test.each([
  [
    'an id that is the name of another',
    `{"event_id":"input_audio_buffer.append","type":"conversation.item.create",${text}}`,
  ],
  [
    'a long id before it',
    `{"event_id":"${'e'.repeat(600)}","type":"conversation.item.create",${text},"x":"${'e'.repeat(600)}"}`,
  ],
  ['a type with escapes', `{"type":"conversation.item\\u002ecreate",${text}}`],
  [
    'a name with escapes',
    `{"\\u0074ype":"conversation.item.create",${text},"event_id":"input_audio_buffer.append"}`,
  ],
  ['two types', `{"type":"input_audio_buffer.append","\\u0074ype":"conversation.item.create",${text}}`],
  ['no JSON', `{"type":"input_audio_buffer.append",,${text}}`],
])('what a client says is a part of the prompt, in an event with %s', (_what, message) => {
  const conversation = new Conversation();
  conversation.asked(Buffer.from(message));
  conversation.take(event('response.created'));
  expect(conversation.unreported?.inputTokens).toBeGreaterThan(8000);
});

test.each([
  ['outside of the conversation', { conversation: 'none' }],
  ['of an input of its own', { input: [] }],
])('an answer %s does not make the next prompt smaller', (_what, response) => {
  const conversation = new Conversation();
  conversation.take(event('response.done', usage(9000, 100)));
  conversation.asked(event('response.create', { response }));
  conversation.take(event('response.created'));
  conversation.take(event('response.done', usage(20, 10)));
  conversation.take(event('response.created'));
  expect(conversation.unreported?.inputTokens).toBeGreaterThanOrEqual(9100);
  conversation.take(event('response.done', usage(9200, 10)));
  conversation.take(event('response.done', usage(500, 10)));
  conversation.take(event('response.created'));
  expect(conversation.unreported?.inputTokens).toBe(510);
});

test.each([
  ['no usage', { status: 'cancelled' }],
  ['a usage of nothing', { status: 'cancelled', usage: { input_tokens: 0, output_tokens: 0 } }],
  ['the usage of half of it', { status: 'cancelled', usage: { output_tokens: 0 } }],
])('an answer that nobody said begins, and that ends with %s, costs the estimate', (_what, response) => {
  const conversation = new Conversation();
  conversation.take(event('response.done', usage(900, 100)));
  conversation.asked(event('response.create'));
  conversation.take(event('response.output_text.delta', { delta: 'word' }));
  expect(conversation.take(event('response.done', { response }))).toBe(true);
  const { inputTokens = 0, outputTokens } = conversation.unreported ?? {};
  expect(inputTokens).toBeGreaterThanOrEqual(1000);
  expect(outputTokens).toBe(1);
});

const ask = event('response.create', { event_id: 'r' });
const namelessAsk = Buffer.from('{"type":"response.create"}');
const bogus = Buffer.from('{"type":"bogus"}');
const namelessError = event('error', { error: { event_id: null } });
const errorOf = (name: string): Buffer => event('error', { error: { event_id: name } });
test.each([
  ['behind it', [namelessAsk, bogus], namelessError],
  ['before it', [bogus, namelessAsk], namelessError],
  ['that is no JSON', [namelessAsk, Buffer.from('zzz')], namelessError],
  ['with a name, of a named one', [ask, event('bogus', { event_id: 'b' })], errorOf('b')],
  ['of the same name behind it', [ask, event('bogus', { event_id: 'r' })], errorOf('r')],
  ['of the same name before it', [event('bogus', { event_id: 'r' }), ask], errorOf('r')],
  ['of two names', [Buffer.from('{"type":"bogus","event_id":"r","event_id":"b"}'), ask], errorOf('r')],
  ['of a name with escapes', [Buffer.from('{"type":"bogus","event\\u005fid":"r"}'), ask], errorOf('r')],
])('an answer that was asked for is paid though another event is refused %s', (_what, asked, error) => {
  const conversation = new Conversation();
  conversation.asked(event('conversation.item.create', { event_id: 'i', item: 'x'.repeat(4000) }));
  for (const message of asked) conversation.asked(message);
  conversation.take(error);
  expect(conversation.unreported?.inputTokens).toBeGreaterThan(1000);
});

test.each([
  ['by its name', [ask, bogus], errorOf('r')],
  ['where nothing else has no name', [namelessAsk], namelessError],
  [
    'because one is being made',
    [bogus, namelessAsk],
    event('error', { error: { code: 'conversation_already_has_active_response' } }),
  ],
])('an answer that certainly was refused costs nothing: %s', (_what, asked, error) => {
  const conversation = new Conversation();
  for (const message of asked) conversation.asked(message);
  conversation.take(error);
  expect(conversation.unreported).toBeUndefined();
});

test('of several answers that were asked for each is paid, however many, but for those that are refused', () => {
  const conversation = new Conversation();
  conversation.take(event('response.done', usage(9000, 1000)));
  const names = Array.from({ length: 100 }, (_, at) => `r${at}`);
  for (const name of names) conversation.asked(event('response.create', { event_id: name }));
  const all = (): number => Math.floor((conversation.unreported?.inputTokens ?? 0) / 10_000);
  expect(all()).toBeGreaterThanOrEqual(100);
  const before = all();
  for (const name of names.slice(0, 10)) conversation.take(errorOf(name));
  expect(before - all()).toBeGreaterThanOrEqual(10);
  const later = all();
  // Of those beyond the bound no name is kept.
  conversation.take(errorOf('r99'));
  expect(all()).toBe(later);
});

test.each([1_000_000_001, 9_007_199_254_740_991, -1, 0.5])('a report of %s tokens is none', (tokens) => {
  const conversation = new Conversation();
  conversation.take(event('response.done', usage(900, 100)));
  conversation.take(event('response.created'));
  conversation.take(event('response.output_text.delta', { delta: 'word' }));
  conversation.take(event('response.done', usage(tokens, tokens)));
  expect(conversation.total).toEqual({ inputTokens: 900, outputTokens: 100 });
  expect(conversation.unreported).toEqual({ inputTokens: 1000, outputTokens: 1 });
});

test.each([
  [
    'an absurd prompt',
    { input_tokens: 1e300, output_tokens: 7 },
    [0, 7],
    { inputTokens: 1000, outputTokens: 0 },
  ],
  ['no prompt', { output_tokens: 7 }, [0, 7], { inputTokens: 1000, outputTokens: 0 }],
  [
    'a prompt of nothing',
    { input_tokens: 0, output_tokens: 7 },
    [0, 7],
    { inputTokens: 1000, outputTokens: 0 },
  ],
  [
    'an absurd answer',
    { input_tokens: 1010, output_tokens: -1 },
    [1010, 0],
    { inputTokens: 0, outputTokens: 1 },
  ],
  ['no answer', { input_tokens: 1010 }, [1010, 0], { inputTokens: 0, outputTokens: 1 }],
  [
    'an answer of nothing',
    { input_tokens: 1010, output_tokens: 0 },
    [1010, 0],
    { inputTokens: 0, outputTokens: 1 },
  ],
])(
  'of a report with %s the other number is believed, and that one is estimated',
  (_what, tokens, added, lost) => {
    const conversation = new Conversation();
    conversation.take(event('response.done', usage(900, 100)));
    conversation.take(event('response.created'));
    conversation.take(event('response.output_text.delta', { delta: 'word' }));
    conversation.take(event('response.done', { response: { usage: tokens } }));
    const [input = 0, output = 0] = added;
    expect(conversation.total).toEqual({ inputTokens: 900 + input, outputTokens: 100 + output });
    expect(conversation.unreported).toEqual(lost);
    // The next prompt has all of it, reported or not.
    conversation.take(event('response.created'));
    const inAll = (input || 1000) + (output || 1);
    expect(conversation.unreported?.inputTokens).toBe(lost.inputTokens + inAll);
  },
);

test('an answer of which nothing came may have no tokens', () => {
  const conversation = new Conversation();
  conversation.take(event('response.created'));
  conversation.take(event('response.done', usage(100, 0)));
  expect(conversation.unreported).toBeUndefined();
});

test('of words that are written down, a number that cannot be is estimated by the sound or by the words', () => {
  const conversation = new Conversation();
  const wrote = (tokens: object): void => {
    const transcript = 'word '.repeat(8);
    const type = 'conversation.item.input_audio_transcription.completed';
    conversation.take(event(type, { transcript, usage: tokens }));
  };
  conversation.asked(event('input_audio_buffer.append', { audio: second(48_000) }));
  conversation.take(event('input_audio_buffer.committed'));
  wrote({ type: 'duration', seconds: 1 });
  wrote({ type: 'tokens', input_tokens: 12, output_tokens: 9 });
  expect(conversation.unreported).toBeUndefined();
  wrote({ type: 'tokens', input_tokens: 1e10, output_tokens: 9 });
  const { inputTokens = 0, outputTokens } = conversation.unreported ?? {};
  expect(inputTokens).toBeGreaterThanOrEqual(10);
  expect(inputTokens).toBeLessThanOrEqual(12);
  expect(outputTokens).toBe(0);
  wrote({ type: 'tokens', input_tokens: 12, output_tokens: 0 });
  expect(conversation.unreported).toEqual({ inputTokens, outputTokens: 10 });
});

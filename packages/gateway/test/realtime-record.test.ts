import type { ConversationEvent } from '@spillway/core/format/conversation';
import { expect, test } from 'vitest';
import { eventTypeOf } from '../src/realtime/event-type.ts';
import { RealtimeRecord } from '../src/realtime/realtime-record.ts';

const item = '"item":{"role":"user","content":[{"type":"input_text","text":"Hello"}]}';

/** Most are tricks: a log that has to be whole is not, if a client can write an event that it does not know. */
test.each([
  ['as clients write it', `{"type":"conversation.item.create",${item}}`],
  [
    'with a long id before its type',
    `{"event_id":"${'e'.repeat(600)}","type":"conversation.item.create",${item}}`,
  ],
  [
    'with a type in another member before it',
    `{"event_id":"\\"type\\":\\"x\\"",${item},"type":"conversation.item.create"}`,
  ],
  ['with a type with escapes', `{"type":"conversation.item\\u002ecreate",${item}}`],
  ['with two types', `{"type":"input_audio_buffer.clear","type":"conversation.item.create",${item}}`],
  ['with a megabyte of white space', `{${' '.repeat(1_100_000)}"type":"conversation.item.create",${item}}`],
])('promise 13: what a client says is written down, %s', (_what, message) => {
  const events: ConversationEvent[] = [];
  const record = new RealtimeRecord({
    wantsAudio: false,
    add: (event: ConversationEvent) => void events.push(event),
  });
  const bytes = Buffer.from(message);
  record.fromClient(bytes, eventTypeOf(bytes));
  expect(events).toEqual([{ type: 'heard', item: undefined, text: 'Hello' }]);
});

/**
 * A telephone conversation without any service: PocketSphinx makes words of what the caller says, a function of this program
 * answers, and Flite speaks, sentence by sentence. The caller is a double with real speech. It speaks into the second answer: what the
 * program takes for said is what was heard.
 *
 *     apt-get install flite pocketsphinx-en-us python3-pocketsphinx
 *     node examples/09-a-spoken-conversation.ts
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  acceptTwilio,
  type Call,
  carrierSocketOptions,
  fliteMissing,
  openCall,
  openCascade,
  openFlite,
  openPocketsphinx,
  pocketsphinxMissing,
  type Reasoner,
} from '@spillway/voice';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { speech } from '@spillway/voice/simulate/speech';
import { WebSocketServer } from 'ws';

for (const missing of [await fliteMissing(), await pocketsphinxMissing()])
  if (missing !== undefined) throw new Error(missing);

/** What answers: any model of text, such as `openOpenAiChat`, or this. */
const library: Reasoner = {
  api: 'library',
  async *answer(messages) {
    const last = messages.at(-1);
    const asked = last !== undefined && 'text' in last ? last.text : '';
    if (asked.includes('open')) yield { kind: 'text', text: 'We are open from nine to six.' };
    else if (asked.includes('events')) {
      yield { kind: 'text', text: 'There are three events this month. On the 5th, a reading for children. ' };
      yield {
        kind: 'text',
        text: 'On the 12th, a talk about telephones. And on the last Sunday, a concert.',
      };
    } else yield { kind: 'text', text: 'Good bye.' };
  },
};

const server = new WebSocketServer({ ...carrierSocketOptions, host: '127.0.0.1', port: 0 });
await once(server, 'listening');
const call = Promise.withResolvers<Call>();
server.once('connection', (socket) => {
  void acceptTwilio(socket).then(
    (carrier) => call.resolve(answer(carrier)),
    (error: unknown) => call.reject(error),
  );
});

function answer(carrier: Awaited<ReturnType<typeof acceptTwilio>>): Call {
  return openCall({
    carrier,
    model: openCascade({
      recogniser: openPocketsphinx(),
      reasoner: library,
      speaker: openFlite(),
      speakable: 'words',
    }),
    onEvent: (event) => {
      if (event.kind === 'heard') console.log(`caller: ${event.text}`);
      if (event.kind === 'answered')
        console.log(`        (an answer after ${Math.round(event.thoughtMs)} ms)`);
      if (event.kind === 'interrupted') console.log(`        (interrupted)`);
    },
  });
}

const { port } = server.address() as AddressInfo;
const caller = await placeCall(`ws://127.0.0.1:${port}`);
for (const [clip, listenMs] of [
  ['caller-hello', 1500],
  ['caller-question', 5000],
  ['caller-interruption', 500],
] as const) {
  caller.say(speech(clip).audio);
  await caller.whenSaid();
  await caller.whenHeard(listenMs, 30_000);
}
await caller.whenQuiet(1000, 10_000);
caller.hangUp();
await caller.ended;
const { conversation } = await call.promise;
console.log('\nWhat was said, as far as it was heard:');
for (const { role, text } of conversation) console.log(`${role}: ${text}`);
server.close();

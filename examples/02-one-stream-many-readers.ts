/**
 * A channel without the gateway: one source, three readers, each with its own answer to falling behind.
 *
 *     node examples/02-one-stream-many-readers.ts
 */
import { Gap, openChannel } from '@spillway/core';

const channel = openChannel<string>({ maxItems: 8 });

// Must have every word: if it falls behind by 8 words, the source waits.
const audit = channel.reader();
// Wants what is new: if it falls behind by 3 words, it loses the oldest and is told so.
const screen = channel.reader({ overflow: 'drop-oldest', maxItems: 3 });

const writing = (async () => {
  for (const word of 'the lake is full so the water flows over the spillway and the dam holds'.split(' ')) {
    await channel.write(word);
  }
  channel.complete();
})();

const auditing = (async () => {
  const words: string[] = [];
  for await (const word of audit) {
    words.push(word);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  console.log(`audit:  ${words.join(' ')}`);
})();

const showing = (async () => {
  const shown: string[] = [];
  for await (const item of screen) {
    shown.push(item instanceof Gap ? `[${item.to - item.from} words missed]` : item);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  console.log(`screen: ${shown.join(' ')}`);
})();

await Promise.all([writing, auditing, showing]);

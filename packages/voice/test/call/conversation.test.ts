import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { Conversation } from '../../src/call/conversation.ts';

describe('a conversation', () => {
  test('has what was heard of an answer, whichever comes first, its words or the interruption', () => {
    for (const isCutFirst of [true, false]) {
      const conversation = new Conversation();
      conversation.heard('Go on.');
      if (isCutFirst) conversation.cut('i-1', 500, 1000);
      conversation.said('i-1', { text: 'one two three four', madeMs: 1000, words: [] });
      if (!isCutFirst) conversation.cut('i-1', 500, 1000);
      conversation.said('i-2', { text: 'five', madeMs: 300, words: [] });
      conversation.cut('i-2', 0, 300);
      expect(conversation.soFar).toEqual([
        { role: 'caller', text: 'Go on.' },
        { role: 'model', text: 'one two' },
      ]);
    }
  });

  test('counts what was heard against all that was made, also where it was made behind the interruption', () => {
    const conversation = new Conversation();
    // 200 of 250 ms that had come; then another 750 came, and the words of all.
    conversation.cut('i-1', 200, 250);
    conversation.said('i-1', { text: 'one two three four five', madeMs: 1000, words: [] });
    expect(conversation.soFar).toEqual([{ role: 'model', text: 'one' }]);
  });

  test('has the words that came of an item, when no more of them come', () => {
    const conversation = new Conversation();
    conversation.says('i-1', 'one ');
    conversation.says('i-1', 'two');
    conversation.says('i-2', 'whole');
    conversation.said('i-2', { text: 'whole', madeMs: 100, words: [] });
    expect(conversation.settle()).toEqual([['i-1', 'one two']]);
  });

  test('is bounded: the newest is kept, and a beginning of what was said whatever its share', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ maxLength: 1000 }), fc.double({ min: 0, max: 1, noNaN: true })), {
          maxLength: 400,
        }),
        (said) => {
          const conversation = new Conversation();
          for (const [at, [text, share]] of said.entries()) {
            conversation.said(`i-${at}`, { text, madeMs: 1000, words: [] });
            conversation.cut(`i-${at}`, share * 1000, 1000);
          }
          const { soFar } = conversation;
          expect(soFar.length).toBeLessThanOrEqual(200);
          expect(soFar.reduce((sum, { text }) => sum + text.length, 0)).toBeLessThanOrEqual(32_768);
          for (const { text } of soFar)
            expect(said.some(([whole]) => whole.trim().startsWith(text.trim()) || whole.includes(text))).toBe(
              true,
            );
        },
      ),
      { numRuns: 30 },
    );
  });
});

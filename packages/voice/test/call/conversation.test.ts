import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { Conversation } from '../../src/call/conversation.ts';

describe('a conversation', () => {
  test('has what was heard of an answer, whichever comes first, its words or the interruption', () => {
    for (const isCutFirst of [true, false]) {
      const conversation = new Conversation();
      conversation.heard('Go on.');
      if (isCutFirst) conversation.cut('i-1', 0.5);
      conversation.said('i-1', 'one two three four');
      if (!isCutFirst) conversation.cut('i-1', 0.5);
      conversation.said('i-2', 'five');
      conversation.cut('i-2', 0);
      expect(conversation.soFar).toEqual([
        { role: 'caller', text: 'Go on.' },
        { role: 'model', text: 'one two' },
      ]);
    }
  });

  test('is bounded: the newest is kept, and a beginning of what was said whatever its share', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ maxLength: 20_000 }), fc.double({ min: 0, max: 1, noNaN: true })), {
          maxLength: 400,
        }),
        (said) => {
          const conversation = new Conversation();
          for (const [at, [text, share]] of said.entries()) {
            conversation.said(`i-${at}`, text);
            conversation.cut(`i-${at}`, share);
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
      { numRuns: 50 },
    );
  });
});

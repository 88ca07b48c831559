import { SentenceSplitter, type SentenceSplitterOptions } from '@spillway/voice';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkProperty } from '../../../core/test/support/property.ts';
import { processorMs } from '../support/processor-ms.ts';

function split(pieces: readonly string[], options: SentenceSplitterOptions = {}): string[] {
  const splitter = new SentenceSplitter(options);
  return [...pieces.flatMap((piece) => splitter.push(piece)), ...splitter.end()];
}

const squeezed = (text: string): string => text.replaceAll(/\s/gu, '');

/** Sentences, with `|` between them. */
const table: readonly (readonly [language: string, sentences: string])[] = [
  ['en', 'Yes.|No!|Why?|Well…|I see.'],
  ['en', 'Dr. Smith came.|He met Mr. and Mrs. Jones at St. Mary.|Prof. Lee left.'],
  ['en', 'It costs 3.50.|Version v1.2 is out.|I paid 3.|Then I left.'],
  ['en', 'The U.S. Army is big.|I live in the U.S.|The end.'],
  ['en', 'Take fruit, e.g. apples, i.e. these.|Then go.'],
  ['en', 'Wait... what?|No!|Well...|Yes.'],
  ['en', '1. Apples.|2. Pears.'],
  ['en', 'a. One.|b. Two.'],
  ['en', 'He said "Stop."|Then he left.'],
  ['en', 'He said "Stop!" and left.|"Really?"|"Yes."'],
  ['en', 'He said “Stop!” and left.|(Really!)|Fine.'],
  ['en', 'It (see p. 3) is there.|It is (I think.) not here.'],
  ['en', 'Write to info@library.example.|See https://library.example/?a=b!|Bye.'],
  ['en', 'See www.library.example/a?b=1 now.|Open index.ts or Node.js.'],
  ['en', 'We open at 9 a.m. on Monday.|At 3 p.m. Monday we close.|It is 5 p.m.|Please come.'],
  ['en', 'J. R. R. Tolkien wrote it.|So did I.|Then J. came.'],
  ['en', 'See fig. 3 and No. 5.|I said no.|It is art.'],
  ['en', 'Jan. 5 is a Monday.|We go in Jan.|It is cold.'],
  ['en', 'Apples, pears etc. are there.|Apples, pears etc.|We have all.'],
  ['en', 'Smith Jr. and Acme Inc. came.|They work for Acme Inc.|Good.'],
  ['en', 'One line\n|another line\n\n|- an item'],
  ['en', 'Great! |😀 Good.|👍🏽 Bye.'],
  ['hi', 'नमस्ते।|आप कैसे हैं?|मैं ठीक हूँ।'],
  ['hi', 'यह library है।|Opening time 9 a.m. है।|Thank you.'],
  ['zh', '你好。|今天好吗？|很好！|他说：“走吧。”|再见。'],
  ['ja', 'こんにちは。|元気ですか？|「そうです。」|と言った。'],
  ['de', 'Am 3. Mai kommt er.|Das kostet z.B. 3 Euro.|Er sagte: „Nein!“|Dann ging er.'],
  ['de', 'Hr. Müller wohnt in der Goethestr. 12a.|Es war 1999.|Gut.'],
  ['fr', 'M. Dupont est là.|Ça va ?|Il a dit « Non ! » et il est parti.|Mme. Petit aussi.'],
  ['es', 'El Sr. Pérez vino.|¿Qué pasa?|¡Hola!|La Sra. López no.'],
  ['ar', 'هل أنت بخير؟|نعم.|شكرا.'],
];

describe('sentences', () => {
  test.each(table)('%s: %s', (language, text) => {
    const sentences = text.split('|').map((one) => one.trim());
    const joiner = /^(?:zh|ja)$/.test(language) ? '' : ' ';
    const whole = text.split('|').join(text.includes('\n') ? '' : joiner);
    for (const size of [whole.length, 1, 2, 3, 7]) {
      const pieces = whole.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
      expect(split(pieces, { language })).toEqual(sentences);
    }
  });

  test('a sentence is given with its mark, before anything of the next one', () => {
    for (const text of ['Yes!', 'Really?', 'Well…', '好。', '好！', 'है।', 'نعم؟'])
      expect(new SentenceSplitter().push(text)).toEqual([text]);
    const splitter = new SentenceSplitter();
    expect(splitter.push('It is open.')).toEqual([]);
    // It may be "open.example".
    expect(splitter.push(' ')).toEqual(['It is open.']);
  });

  test('behind "Dr.", "U.S.", "3." and a quote the next word is waited for, and no more', () => {
    for (const [text, next, sentences] of [
      ['It was Dr. ', 'S', []],
      ['In the U.S. ', 'The ', ['In the U.S.']],
      ['I have 3. ', 'N', ['I have 3.']],
      ['"I know." ', 'T', ['"I know."']],
    ] as const) {
      const splitter = new SentenceSplitter();
      expect(splitter.push(text)).toEqual([]);
      expect(splitter.push(next)).toEqual(sentences);
    }
  });

  test('what is too long is cut behind a clause, else between words, else between characters', () => {
    const options = { maxChars: 20 };
    expect(split(['one two three, four five six seven'], options)).toEqual([
      'one two three,',
      'four five six seven',
    ]);
    expect(split(['one, two three four five six'], options)).toEqual(['one, two three four', 'five six']);
    expect(split(['x'.repeat(45)], options)).toEqual(['x'.repeat(20), 'x'.repeat(20), 'x'.repeat(5)]);
    // A family of seven units and a letter with a mark stay whole.
    for (const grapheme of ['👨‍👩‍👧', 'e\u0301', '🇩🇪', '😀']) {
      const pieces = split([grapheme.repeat(40)], options);
      expect(pieces.join('')).toBe(grapheme.repeat(40));
      for (const piece of pieces) expect(piece.replaceAll(grapheme, '')).toBe('');
    }
  });

  test('what waits is given up to a clause or a word, and a word that is not over stays', () => {
    const given = (text: string): readonly [string[], number] => {
      const splitter = new SentenceSplitter();
      splitter.push(text);
      return [splitter.flush(), splitter.waiting];
    };
    expect(given('I can tell you, that the libra')).toEqual([['I can tell you,'], 14]);
    expect(given('I can tell you that the libra')).toEqual([['I can tell you that the'], 5]);
    expect(given('I can tell you.')).toEqual([['I can tell you.'], 0]);
    expect(given('I met Dr.')).toEqual([['I met'], 3]);
    expect(given('libra')).toEqual([[], 5]);
    expect(given('今天')).toEqual([['今天'], 0]);
    expect(given('')).toEqual([[], 0]);
  });

  test('after the end another text begins', () => {
    const splitter = new SentenceSplitter();
    splitter.push('He said "no');
    expect(splitter.end()).toEqual(['He said "no']);
    expect(splitter.push('Yes!')).toEqual(['Yes!']);
  });

  test('options are checked', () => {
    expect(() => new SentenceSplitter({ maxChars: 19 })).toThrow('maxChars: expected a whole number from 20');
  });
});

/** What sentences are made of, and what may be mistaken for their end. */
const bits = fc.constantFrom(
  ...'Dr. U.S. e.g. v1.2 3. No. I. p.m. etc. The word wait... … ! ? . 。 । ؟ " “ ” „ « » ( ) 「 」 , ; : a A é e\u0301 😀 👨‍👩‍👧 你 है https://x.example/?a=b www. 12 ’ \''.split(
    ' ',
  ),
  ' ',
  ' ',
  '\n',
  '\u0301',
  '\ud83d',
  'x'.repeat(30),
);
const texts = fc.array(bits, { maxLength: 40 }).map((parts) => parts.join(''));

test('sentences: however a text is cut into pieces, the same sentences come, joined they are the text, and none is too long', async () => {
  await checkProperty(
    'sentences: any cut',
    fc.property(
      texts,
      fc.array(fc.nat(20), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 20, max: 60 }),
      fc.constantFrom('en', 'de'),
      (text, sizes, maxChars, language) => {
        const pieces: string[] = [];
        for (let at = 0, index = 0; at < text.length; index += 1) {
          const size = (sizes[index % sizes.length] ?? 0) + 1;
          pieces.push(text.slice(at, at + size));
          at += size;
        }
        const options = { language, maxChars };
        const sentences = split([text], options);
        expect(split(pieces, options)).toEqual(sentences);
        expect(squeezed(sentences.join(''))).toBe(squeezed(text));
        for (const sentence of sentences) expect(sentence.length).toBeLessThanOrEqual(maxChars);
        const splitter = new SentenceSplitter(options);
        for (const piece of pieces) {
          splitter.push(piece);
          expect(splitter.waiting).toBeLessThanOrEqual(maxChars + 1);
        }
      },
    ),
  );
});

test('sentences: a word that says to wait is a word', () => {
  expect(split(['We are in the U.S. wait for us there. Please.'], {})).toEqual([
    'We are in the U.S. wait for us there.',
    'Please.',
  ]);
});

test('sentences: a flush at any time loses nothing and doubles nothing', async () => {
  await checkProperty(
    'sentences: any flush',
    fc.property(fc.array(fc.tuple(texts, fc.boolean()), { maxLength: 10 }), (parts) => {
      const splitter = new SentenceSplitter({ maxChars: 40 });
      const given: string[] = [];
      for (const [text, isFlushed] of parts) {
        given.push(...splitter.push(text));
        if (isFlushed) given.push(...splitter.flush());
      }
      given.push(...splitter.end());
      expect(squeezed(given.join(''))).toBe(squeezed(parts.map(([text]) => text).join('')));
    }),
  );
});

test.each([
  ['no end', 'word '],
  ['no space', 'x'],
  ['points', '.'],
  ['marks', '!'],
  ['quotes', '"'],
  ['brackets', '('],
  ['abbreviations', 'p.m. '],
  ['spaces', ' '],
  ['lines', '\n'],
  ['marks on one letter', '\u0301'],
  ['pairs', '😀'],
])('a megabyte of %s takes as long as its length, and little memory', (_name, unit) => {
  const splitter = new SentenceSplitter();
  const [short = 0, long = 0] = [62_500, 1_000_000].map((length) => {
    const text = unit.repeat(Math.floor(length / unit.length));
    const took = processorMs(() => splitter.push(text));
    expect(splitter.waiting).toBeLessThanOrEqual(201);
    return took;
  });
  // Sixteen times the text: 256 times as long would be its square.
  expect(long).toBeLessThan(100 * Math.max(short, 20));
});

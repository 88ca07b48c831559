import { speakable, SpeakableText, type SpeakableOptions } from '@spillway/voice';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { wordsOfText } from '../../src/cascade/speakable/words-of-text.ts';
import { checkProperty } from '../../../core/test/support/property.ts';
import { processorMs } from '../support/processor-ms.ts';

type Row = readonly [written: string, spoken: string];

/** Of every language. */
const markdown: readonly Row[] = [
  ['**Bold** and *it* and __b__ and _i_ and ~~gone~~.', 'Bold and it and b and i and gone.'],
  ['***Both*** of **them**', 'Both of them'],
  ['A **bold sentence', 'A bold sentence'],
  ['that ends** here.', 'that ends here.'],
  ['## A heading', 'A heading'],
  ['- an item', 'an item'],
  ['* another', 'another'],
  ['  • a third', 'a third'],
  ['- [ ] to do', 'to do'],
  ['> > quoted', 'quoted'],
  ['---', ''],
  ['* * *', ''],
  ['=====', ''],
  ['See [our *page*](https://library.example/a?b=1 "title").', 'See our page.'],
  ['A [link that goes', 'A link that goes'],
  ['on](https://library.example/a) here', 'on here'],
  ['![A plan](plan.png)', 'A plan'],
  ['See https://www.library.example:8080/hours?x=1#y.', 'See library.example.'],
  ['<https://library.example/a>', 'library.example'],
  ['(https://library.example/a_b_c)', '(library.example)'],
  ['It is true [1], and so is this[^2].', 'It is true, and so is this.'],
  ['Press `Enter` or ``a ` b``.', 'Press Enter or a b.'],
  ['<b>Hi</b><br/>there', 'Hi there'],
  ['| Day | Hours |', 'Day, Hours'],
  ['|-----|:-----:|', ''],
  ['| Monday | 9 to 5 |', 'Monday, 9 to 5'],
  ['Hi 😀 there 👋🏽!', 'Hi there!'],
  ['👨‍👩‍👧 🇩🇪 1️⃣', ''],
  ['A \\*star\\*', 'A star'],
  ['5 * 3 is 15', '5 * 3 is 15'],
  ['snake_case and 2*3', 'snake_case and 2 × 3'],
  ['**重要**：请看[这里](https://a.example)。', '重要：请看这里。'],
  ['Das kostet **5,50 €**.', 'Das kostet 5,50 €.'],
  ['Use ```x``` here', 'Use x here'],
];

/** Of English. */
const words: readonly Row[] = [
  ['7', 'seven'],
  ['42 books', 'forty-two books'],
  ['100 and 101', 'one hundred and one hundred one'],
  ['1,234 people', 'one thousand two hundred thirty-four people'],
  ['1,000,000', 'one million'],
  ['3.14', 'three point one four'],
  ['0.5', 'zero point five'],
  ['-5 degrees', 'minus five degrees'],
  ['007', 'zero zero seven'],
  ['in 1999', 'in nineteen ninety-nine'],
  ['in 1905', 'in nineteen oh five'],
  ['in 2005', 'in two thousand five'],
  ['in 2026', 'in twenty twenty-six'],
  ['the 1990s', 'the nineteen nineties'],
  ['$5', 'five dollars'],
  ['$1.01', 'one dollar and one cent'],
  ['$5.50', 'five dollars and fifty cents'],
  ['$0.99', 'ninety-nine cents'],
  ['$1,234.00', 'one thousand two hundred thirty-four dollars'],
  ['$5.5 million', 'five point five million dollars'],
  ['$100k', 'one hundred thousand dollars'],
  ['-$5', 'minus five dollars'],
  ['€5 or 5 €', 'five euros or five euros'],
  ['£2.50', 'two pounds and fifty pence'],
  ['¥500', 'five hundred yen'],
  ['20 USD', 'twenty dollars'],
  ['5%', 'five percent'],
  ['3.5 %', 'three point five percent'],
  ['1st, 2nd and 23rd', 'first, second and twenty-third'],
  ['the 12th', 'the twelfth'],
  ['2026-11-29', 'November twenty-ninth, twenty twenty-six'],
  ['2026-11-29T14:30:00Z', 'November twenty-ninth, twenty twenty-six at fourteen thirty'],
  ['11/29/2026', 'November twenty-ninth, twenty twenty-six'],
  ['29/11/2026', 'November twenty-ninth, twenty twenty-six'],
  ['Nov 29, 2026', 'November twenty-ninth, twenty twenty-six'],
  ['November 5th', 'November fifth'],
  ['Sept. 3', 'September third'],
  ['29 November 2026', 'the twenty-ninth of November, twenty twenty-six'],
  ['2026-13-45', 'two zero two six, one three, four five'],
  ['9:00 a.m. today', 'nine A M today'],
  ['at 9am', 'at nine A M'],
  ['We open at 9 a.m. Please come.', 'We open at nine A M. Please come.'],
  ['We close at 5 p.m.', 'We close at five P M.'],
  ['9:05', 'nine oh five'],
  ['14:30', 'fourteen thirty'],
  ['12:00', "twelve o'clock"],
  ['17:00', 'seventeen hundred'],
  ['8am-5pm', 'eight A M to five P M'],
  ['Mon–Fri 9–5', 'Monday to Friday nine to five'],
  ['10-20 people', 'ten to twenty people'],
  ['5 km', 'five kilometers'],
  ['1 kg', 'one kilogram'],
  ['72°F', 'seventy-two degrees Fahrenheit'],
  ['-3 °C', 'minus three degrees Celsius'],
  ['30 km/h', 'thirty kilometers per hour'],
  ['16 GB', 'sixteen gigabytes'],
  ['5 in the morning', 'five in the morning'],
  ['1/2', 'one half'],
  ['3/4', 'three quarters'],
  ['2 1/2 hours', 'two and a half hours'],
  ['3½', 'three and a half'],
  ['24/7', 'twenty-four seven'],
  ['555-1234', 'five five five, one two three four'],
  ['(555) 123-4567', 'five five five, one two three, four five six seven'],
  ['+44 20 7946 0958', 'plus four four, two zero, seven nine four six, zero nine five eight'],
  ['12345678', 'one two three four five six seven eight'],
  ['v1.2.3', 'version one point two point three'],
  ['MP3 and B2B', 'MP three and B two B'],
  ['e.g. this, i.e. that', 'for example this, that is that'],
  ['Dr. Smith and Mrs. Lee', 'Doctor Smith and Missus Lee'],
  ['St. Mary on Main St.', 'Saint Mary on Main Street'],
  ['pears etc.', 'pears et cetera.'],
  ['cats vs. dogs', 'cats versus dogs'],
  ['No. 5 and #6', 'number five and number six'],
  ['Smith & Co. Ltd.', 'Smith and Company Limited'],
  ['info@library.org', 'info at library dot org'],
  ['See library.example.', 'See library dot example.'],
  ['2 + 2 = 4', 'two plus two equals four'],
  ['5 * 3', 'five times three'],
  ['~5 min', 'about five minutes'],
  ['1. Apples', 'one, Apples'],
  ['and/or', 'and/or'],
  ['I said no.', 'I said no.'],
];

describe('what is to be spoken of Markdown', () => {
  test.each(markdown)('%s', (written, spoken) => {
    expect(speakable(written, { level: 'markdown' })).toBe(spoken);
    // Numbers of other languages are left to the speaker.
    expect(speakable(written, { language: 'de' })).toBe(spoken);
  });
});

describe('what is to be spoken of English', () => {
  test.each(words)('%s', (written, spoken) => {
    expect(speakable(written)).toBe(spoken);
  });

  test('the day of a date is where the region writes it', () => {
    expect(speakable('3/4/2026', { language: 'en-GB' })).toBe('April third, twenty twenty-six');
    expect(speakable('3/4/2026', { language: 'en-US' })).toBe('March fourth, twenty twenty-six');
  });
});

test('a block of code is left out, also where it lies in several pieces', () => {
  const reader = new SpeakableText({ level: 'markdown' });
  const pieces = [
    'Use this:',
    '```js',
    'const a = "**b**";',
    '```',
    'Then go.',
    'Or: ```',
    'x',
    '```',
    'Bye.',
  ];
  expect(pieces.map((piece) => reader.push(piece)).filter((piece) => piece !== '')).toEqual([
    'Use this:',
    'Then go.',
    'Or:',
    'Bye.',
  ]);
  expect(speakable('One.\n~~~\nx\n~~~\nTwo.', { level: 'markdown' })).toBe('One.\nTwo.');
});

test('times of what was spoken are those of the text where both are alike', () => {
  const text = 'It costs $5 a **month** now.';
  const spoken = speakable(text);
  expect(spoken).toBe('It costs five dollars a month now.');
  const ends = [2, 8, 13, 21, 23, 29, 34];
  const timed = wordsOfText(
    text,
    spoken,
    ends.map((end, index) => ({ end, toMs: index * 100 })),
  );
  expect(timed.map(({ end, toMs }) => [text.slice(0, end), toMs])).toEqual([
    ['It', 0],
    ['It costs', 100],
    ['It costs $5 a **month**', 500],
    ['It costs $5 a **month** now.', 600],
  ]);
  expect(wordsOfText('Hi you', 'Hi you', [{ end: 2, toMs: 5 }])).toEqual([{ end: 2, toMs: 5 }]);
});

const bits = fc.constantFrom(
  ...'** * _ __ ` ``` [ ]( ](http://x.example/a) ) ! # - > | --- 5 12 2026 . , $ € % ½ : 30 am p.m. / – st th km a The Dr. St. é 你 😀 👍🏽 <b> < = + & ~~ \\ @ x.example www. https:// v +44 (0) ° s m Nov No.'.split(
    ' ',
  ),
  ' ',
  '\n',
  '1. ',
  '| a ',
);
const texts = fc.array(bits, { maxLength: 14 }).map((parts) => parts.join(''));
const options = fc.record({
  level: fc.constantFrom<'markdown' | 'words'>('markdown', 'words'),
  language: fc.constantFrom('en', 'en-GB', 'de'),
});

test('texts to be spoken: made ready twice they are the same, and never longer than 16 times and 16 characters', async () => {
  await checkProperty(
    'speakable: twice',
    fc.property(texts, options, (text: string, how: SpeakableOptions) => {
      const spoken = speakable(text, how);
      expect(speakable(spoken, how)).toBe(spoken);
      expect(spoken.length).toBeLessThanOrEqual(16 * text.length + 16);
    }),
  );
});

test.each(
  'a_[_](_*__a_1_1,_1-_1 _<a_a._https://_| a _> _ _x@_12:_$_ =_- _[a_<_!_\\_1/'.split('_').filter(Boolean),
)('a text of nothing but %j takes as long as its length', (unit) => {
  const [short = 0, long = 0] = [10_000, 160_000].map((length) =>
    processorMs(() => speakable(unit.repeat(Math.ceil(length / unit.length)))),
  );
  // Sixteen times the text: 256 times as long would be its square.
  expect(long).toBeLessThan(100 * Math.max(short, 20));
});

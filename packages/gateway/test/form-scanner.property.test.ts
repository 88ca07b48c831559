import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GatewayError } from '@spillway/server/errors';
import { boundaryOf, FormScanner } from '../src/http/form-scanner.ts';

interface Part {
  readonly head: string;
  readonly content: string;
}

const boundary = 'XX-y';

/** What nearly is a delimiter, or a head. */
const content = fc
  .array(
    fc.constantFrom(
      '\r\n',
      '\n',
      '\r',
      '--',
      '-',
      boundary,
      `\r\n--${boundary.slice(0, -1)}`,
      `\r\n--${boundary}z`,
      `--${boundary}`,
      `\r\n--${boundary}-`,
      'Content-Disposition: form-data; name="model"\r\n\r\nsecond/x',
      'a',
      'second/m',
      'é',
    ),
    { maxLength: 8 },
  )
  .map((pieces) => pieces.join(''))
  // A delimiter at its end would be one.
  .filter((text) => !/\n--XX-y(?:[ \t]*\r?$|-?$|[ \t]*\r?\n|--)/.test(`\n${text}`));

const fileHead = fc.constantFrom(
  'Content-Disposition: form-data; name="file"; filename="a; name=model"',
  'content-type: audio/wav\r\nContent-Disposition: form-data; name="file"; filename="model"',
  'Content-Disposition: form-data; name="models"',
  'Content-Disposition: form-data; filename="\\"; name=\\"model\\""; name="x"',
  'X-Other: form-data; name="model"\r\nContent-Disposition: form-data; name=file',
);
const modelHead = fc.constantFrom(
  'Content-Disposition: form-data; name="model"',
  'content-disposition:form-data;name=model',
  'Content-Type: text/plain; charset=utf-8\r\nCONTENT-DISPOSITION: form-data; NAME="model"',
  'Content-Disposition: form-data; filename="x"; name="model"\r\nContent-Length: 3',
  'Content-Disposition: form-data;\r\n name="model"',
);
const part = fc.record({ head: fileHead, content });
const modelPart = fc.record({ head: modelHead, content });

const forms = fc.record({
  before: fc.array(part, { maxLength: 3 }),
  models: fc.array(modelPart, { maxLength: 2 }),
  after: fc.array(part, { maxLength: 3 }),
  preamble: fc.constantFrom('', 'This is a form.\r\n', '\r\n'),
  end: fc.constantFrom('\r\n', '', '\r\nepilogue; name="model"', `\r\n--${boundary}\r\n`),
  padding: fc.constantFrom('', ' ', ' \t '),
});

function textOf(parts: readonly Part[], preamble: string, padding: string, end: string): string {
  const texts = parts.map((each) => `--${boundary}${padding}\r\n${each.head}\r\n\r\n${each.content}\r\n`);
  return `${preamble}${texts.join('')}--${boundary}--${end}`;
}

/** The model of a form that came in these pieces, or why it is refused. */
function modelOf(bytes: Buffer, cuts: readonly number[], delimiter = boundary): string | undefined {
  const scanner = new FormScanner(delimiter);
  for (let at = 0, count = 0; at < bytes.length; count += 1) {
    const end = at + (cuts[count % cuts.length] ?? bytes.length);
    // A buffer that is used again, as those of sockets may be.
    const piece = Buffer.from(bytes.subarray(at, end));
    scanner.push(piece);
    piece.fill('-');
    at = end;
  }
  try {
    const { model: range } = scanner.end();
    return range && bytes.toString('utf8', range.start, range.end);
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'invalid_request') return `refused: ${error.message}`;
    throw error;
  }
}

test('1.1 the model of a form is found wherever it stands, however the form is cut', () => {
  fc.assert(
    fc.property(
      forms,
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 }),
      ({ after, before, end, models, padding, preamble }, cuts) => {
        const bytes = Buffer.from(textOf([...before, ...models, ...after], preamble, padding, end));
        const [first] = models;
        const expected = models.length > 1 ? 'refused: model: expected one, got several.' : first?.content;
        expect(modelOf(bytes, cuts)).toBe(expected);
        expect(modelOf(bytes, [1])).toBe(expected);
        expect(modelOf(bytes, [])).toBe(expected);
      },
    ),
    { numRuns: 3000 },
  );
});

test('1.1 a form is cut at every byte, and a parser of somebody else reads the same', async () => {
  const near = `\r\n--${boundary.slice(0, -1)}`;
  const parts = [
    { head: 'Content-Disposition: form-data; name="file"; filename="a"', content: `${near}\r\n\r` },
    { head: 'Content-Disposition: form-data; name="model"', content: `second/m${near}` },
    { head: 'Content-Disposition: form-data; name="language"', content: '' },
  ];
  const bytes = Buffer.from(textOf(parts, '', '', '\r\n'));
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` };
  const form = await new Response(new Uint8Array(bytes), { headers }).formData();
  const expected = form.get('model');
  if (typeof expected !== 'string') throw new Error('the form has no model');
  expect(expected).toContain('second/m');
  for (let at = 1; at < bytes.length; at += 1) {
    expect(modelOf(bytes, [at, bytes.length]), `cut at ${at}`).toBe(expected);
    expect(modelOf(bytes.subarray(0, at), []), `ends at ${at}`).toSatisfy(
      (model) => model === undefined || expected.startsWith(String(model).slice(0, 8)),
    );
  }
});

test('bare line ends and a missing end are read, as some parsers do', () => {
  const text = `--b\nContent-Disposition: form-data; name="model"\n\nsecond/m\n--b--\n`;
  expect(modelOf(Buffer.from(text), [1], 'b')).toBe('second/m');
  const open = `--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsecond/m`;
  expect(modelOf(Buffer.from(open), [1], 'b')).toBe('second/m');
  // A part without a head.
  expect(modelOf(Buffer.from(`--b\r\n\r\nx\r\n${text}`), [1], 'b')).toBe('second/m');
});

test('a head is bounded: what is in front of a part cannot be so long that it is not read', () => {
  const long = (bytes: number): Buffer =>
    Buffer.from(
      `--b\r\nX: ${'x'.repeat(bytes)}\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--`,
    );
  expect(modelOf(long(8000), [7], 'b')).toBe('m');
  expect(modelOf(long(9000), [7], 'b')).toMatch(/^refused: The form: expected at most 8192 bytes/);
  expect(modelOf(Buffer.concat([Buffer.from('--b\r\n'), Buffer.alloc(1_000_000, 'x')]), [100], 'b')).toMatch(
    /^refused/,
  );
});

test.each([
  ['multipart/form-data; boundary=abc', 'abc'],
  ['Multipart/Form-Data;charset=utf-8;Boundary="a b;c"', 'a b;c'],
  ['multipart/form-data; boundary="a\\"b"', 'a"b'],
  ['multipart/form-data; x="; boundary=no"; boundary=yes', 'yes'],
  ["multipart/form-data; boundary='()+_,-./:=?", "'()+_,-./:=?"],
  ['multipart/form-data', undefined],
  ['multipart/mixed; boundary=abc', undefined],
  ['application/json', undefined],
])('the boundary in %s', (contentType, expected) => {
  expect(boundaryOf(contentType)).toBe(expected);
});

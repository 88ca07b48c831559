import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import twilio from 'twilio';
import { isTwilioSignature, twilioSignature } from '../../src/index.ts';

const authToken = '12345';
const form = { CallSid: 'CA1234567890ABCDE', Caller: '+14158675310', Digits: '1234', To: '+18005551212' };
const { getExpectedTwilioSignature, validateRequest } = twilio;

const urls = [
  'https://example.com/voice/twilio',
  'https://example.com:8443/voice/twilio?a=1&b=%27x',
  'https://example.com:443/voice',
  'http://example.com/voice/',
  'wss://example.com/voice/twilio/token-1',
  'wss://example.com:443/voice',
  'wss://[::1]:8080/voice',
  'https://user:secret@example.com/voice',
  'https://example.com',
];

describe("Twilio's signature", () => {
  test('is the one that its own library makes, and that accepts ours', () => {
    for (const url of urls) {
      expect(twilioSignature(authToken, url, form)).toBe(getExpectedTwilioSignature(authToken, url, form));
      expect(validateRequest(authToken, twilioSignature(authToken, url, form), url, form)).toBe(true);
    }
    const lists = { b: ['2', '1', '2'], a: '' };
    expect(twilioSignature(authToken, 'https://example.com', lists)).toBe(
      getExpectedTwilioSignature(authToken, 'https://example.com', lists),
    );
  });

  test('is accepted as its own library does, with and without the port, and with nothing else', () => {
    const signed = [...urls, ...urls.map((url) => url.replace(/(?<=example\.com|\])(?::\d+)?/u, ''))].flatMap(
      (url) => [
        url,
        url.replace(/(?<=example\.com)(?=\/|$)/u, ':80'),
        url.replace(/(?<=example\.com)(?=\/|$)/u, ':443'),
      ],
    );
    for (const url of urls) {
      for (const other of signed) {
        const signature = twilioSignature(authToken, other, form);
        expect([url, other, isTwilioSignature({ authToken, signature, url, form })]).toEqual([
          url,
          other,
          validateRequest(authToken, signature, url, form),
        ]);
      }
    }
  });

  test('is made as its own library makes it, whatever the form has', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.array(fc.string()))), (fields) => {
        const url = 'https://example.com/voice';
        expect(twilioSignature(authToken, url, fields)).toBe(
          getExpectedTwilioSignature(authToken, url, fields),
        );
      }),
    );
  });

  test('of another token, another form, another path, another scheme, of another length or not at all is refused', () => {
    const url = 'wss://example.com/voice';
    const right = twilioSignature(authToken, url, form);
    const check = (changed: Partial<Parameters<typeof isTwilioSignature>[0]>): boolean =>
      isTwilioSignature({ authToken, signature: right, url, form, ...changed });
    expect(check({})).toBe(true);
    expect(check({ authToken: '12346' })).toBe(false);
    expect(check({ form: { ...form, Digits: '1235' } })).toBe(false);
    expect(check({ url: 'wss://example.com/voice/' })).toBe(false);
    expect(check({ url: 'https://example.com/voice' })).toBe(false);
    expect(check({ signature: right.slice(1) })).toBe(false);
    expect(check({ signature: '' })).toBe(false);
    expect(check({ signature: undefined })).toBe(false);
  });

  test('with no token at all is none, so that a token that is not configured opens nothing', () => {
    const url = 'wss://example.com/voice';
    const signature = createHmac('sha1', '').update(url).digest('base64');
    expect(isTwilioSignature({ authToken: '', signature, url })).toBe(false);
  });
});

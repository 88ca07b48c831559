import { describe, expect, test } from 'vitest';
import twilio from 'twilio';
import { streamTwiml, verbsTwiml } from '../../src/index.ts';

const { VoiceResponse } = twilio.twiml;
const hostile = `"><Dial>+1900</Dial>&amp;'\u0000\u001b\uD800 é 😀`;
const harmless = `"><Dial>+1900</Dial>&amp;'\uFFFD é 😀`;

describe('TwiML', () => {
  test('is what the library of Twilio would write', () => {
    const expected = new VoiceResponse();
    const stream = expected.connect().stream({ url: 'wss://calls.example/voice/twilio' });
    stream.parameter({ name: 'token', value: harmless });
    expected.say({ language: 'en-GB', voice: 'alice' }, harmless);
    expected.dial('+15550100');
    expected.hangup();
    const written = streamTwiml({
      url: 'wss://calls.example/voice/twilio',
      parameters: { token: hostile },
      behind: [
        { verb: 'say', text: hostile, language: 'en-GB', voice: 'alice' },
        { verb: 'dial', number: '+15550100' },
        { verb: 'hangup' },
      ],
    });
    expect(plain(written)).toBe(plain(expected.toString()));
  });

  test('asks what follows where it is told to', () => {
    const action = 'https://calls.example/voice/twilio/ended';
    const url = 'wss://calls.example/voice/twilio';
    const expected = new VoiceResponse();
    expected.connect({ action }).stream({ url });
    expect(streamTwiml({ action, url }).replace('></Stream>', '/>')).toBe(expected.toString());
    expect(() => streamTwiml({ action, url, behind: [{ verb: 'hangup' }] })).toThrow('got both');
  });

  test('may join nothing', () => {
    const expected = new VoiceResponse();
    expected.say(harmless);
    expected.hangup();
    const written = verbsTwiml([{ verb: 'say', text: hostile }, { verb: 'hangup' }]);
    expect(plain(written)).toBe(plain(expected.toString()));
  });

  test('of what Twilio would refuse on the line is refused before', () => {
    expect(() => streamTwiml({ url: 'https://calls.example/' })).toThrow(
      'expected a URL with wss:, got https:',
    );
    expect(() => streamTwiml({ url: 'wss://calls.example/?token=abc' })).toThrow('without a query');
    expect(() => streamTwiml({ url: 'voice' })).toThrow('got none');
    const url = 'wss://calls.example/';
    expect(streamTwiml({ url, parameters: { abc: 'x'.repeat(496) } })).toContain('xxx');
    expect(() => streamTwiml({ url, parameters: { abc: 'x'.repeat(497) } })).toThrow(
      'less than 500 characters',
    );
  });
});

/** Without what may be written either way. */
function plain(xml: string): string {
  return xml.replaceAll('&quot;', '"').replaceAll('&apos;', "'").replaceAll('&gt;', '>');
}

import { SpillwayError } from '@spillway/core';

/** What a telephone does when the call with the model is over. */
export type TwimlVerb =
  /** Says a sentence, with a voice of Twilio's. `language`: such as `en-US`. */
  | { readonly verb: 'say'; readonly text: string; readonly language?: string; readonly voice?: string }
  /** Hands the caller over to a telephone number, or waits for whoever answers. */
  | { readonly verb: 'dial'; readonly number: string }
  | { readonly verb: 'hangup' };

/** An answer to Twilio's webhook that joins a call with a socket. */
export interface StreamTwiml {
  /**
   * The socket's URL: `wss:`, without a query, because Twilio passes none on. `ws:` is for a carrier's double; Twilio itself
   * refuses it.
   */
  readonly url: string;
  /**
   * What comes back with the start message. A name and its value together have less than 500 characters. Default: nothing.
   */
  readonly parameters?: Readonly<Record<string, string>>;
  /**
   * What follows when the socket is closed, whichever side closed it. Default: nothing, and Twilio hangs up.
   */
  readonly behind?: readonly TwimlVerb[];
}

/** Twilio takes less than this of a parameter's name and its value. */
const maxParameterLength = 500;

/**
 * Writes the answer to Twilio's webhook, to be sent as `text/xml`.
 *
 * @throws {SpillwayError} `invalid_option` for a URL or a parameter that Twilio would refuse when somebody already waits on
 *   the line.
 *
 * @example
 * ```ts
 * import { streamTwiml } from '@spillway/voice';
 *
 * const sorry = { verb: 'say', text: 'Sorry, that did not work.' } as const;
 * console.log(streamTwiml({ url: 'wss://calls.example/voice/twilio', parameters: { token: 'abc' }, behind: [sorry] }));
 * ```
 */
export function streamTwiml({ behind = [], parameters = {}, url }: StreamTwiml): string {
  checkUrl(url);
  const inside = Object.entries(parameters).map(([name, value]) => {
    if (name.length + value.length >= maxParameterLength)
      throw invalid(
        `parameters: expected less than ${maxParameterLength} characters of a name and its value, got ${name.length + value.length}.`,
      );
    return `<Parameter name="${escaped(name)}" value="${escaped(value)}"/>`;
  });
  const stream = `<Stream url="${escaped(url)}">${inside.join('')}</Stream>`;
  const rest = behind.map(written).join('');
  return `<?xml version="1.0" encoding="UTF-8"?><Response><Connect>${stream}</Connect>${rest}</Response>`;
}

function written(verb: TwimlVerb): string {
  if (verb.verb === 'hangup') return '<Hangup/>';
  if (verb.verb === 'dial') return `<Dial>${escaped(verb.number)}</Dial>`;
  const language = verb.language === undefined ? '' : ` language="${escaped(verb.language)}"`;
  const voice = verb.voice === undefined ? '' : ` voice="${escaped(verb.voice)}"`;
  return `<Say${language}${voice}>${escaped(verb.text)}</Say>`;
}

function checkUrl(url: string): void {
  const parsed = URL.parse(url);
  if (parsed === null || !['ws:', 'wss:'].includes(parsed.protocol))
    throw invalid(`url: expected a URL with wss:, got ${parsed?.protocol ?? 'none'}.`);
  if (parsed.search !== '' || parsed.hash !== '')
    throw invalid('url: expected a URL without a query, because Twilio passes none on: use parameters.');
}

const entities: Readonly<Record<string, string>> = {
  '"': '&quot;',
  '&': '&amp;',
  "'": '&apos;',
  '<': '&lt;',
  '>': '&gt;',
};

/** Text as XML has it, in an element and in an attribute. XML 1.0 has no way to write most control characters. */
function escaped(text: string): string {
  return (
    text
      .toWellFormed()
      // oxlint-disable-next-line no-control-regex
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')
      .replaceAll(/["&'<>]/g, (character) => entities[character] ?? '')
  );
}

function invalid(message: string): SpillwayError {
  return new SpillwayError('invalid_option', message);
}

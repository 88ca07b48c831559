import { invalid } from '@spillway/core/invalid';

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
  /**
   * Where Twilio asks instead what follows, as it asked the webhook: `https:`, and signed. The answer may be `verbsTwiml`. Not
   * together with `behind`, which Twilio would not reach. Default: it does not ask.
   */
  readonly action?: string;
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
export function streamTwiml({ action, behind = [], parameters = {}, url }: StreamTwiml): string {
  checkUrl(url);
  if (action !== undefined && behind.length > 0)
    throw invalid('action: expected it or behind, because Twilio does not reach the latter, got both.');
  const inside = Object.entries(parameters).map(([name, value]) => {
    if (name.length + value.length >= maxParameterLength)
      throw invalid(
        `parameters: expected less than ${maxParameterLength} characters of a name and its value, got ${name.length + value.length}.`,
      );
    return `<Parameter name="${escaped(name)}" value="${escaped(value)}"/>`;
  });
  const stream = `<Stream url="${escaped(url)}">${inside.join('')}</Stream>`;
  const connect = action === undefined ? '<Connect>' : `<Connect action="${escaped(action)}">`;
  return response(`${connect}${stream}</Connect>${behind.map(written).join('')}`);
}

/**
 * Writes an answer to Twilio's webhook that joins nothing, to be sent as `text/xml`: a sentence and a hang-up, or whom to call
 * instead.
 *
 * @example
 * ```ts
 * import { verbsTwiml } from '@spillway/voice';
 *
 * console.log(verbsTwiml([{ verb: 'say', text: 'Nobody is here now.' }, { verb: 'hangup' }]));
 * ```
 */
export function verbsTwiml(verbs: readonly TwimlVerb[]): string {
  return response(verbs.map(written).join(''));
}

function response(inside: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><Response>${inside}</Response>`;
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

import { createHmac, timingSafeEqual } from 'node:crypto';

/** A request that says that it is from Twilio. */
export interface SignedRequest {
  /** The account's auth token, with which Twilio signs. */
  readonly authToken: string;
  /** The header `X-Twilio-Signature`. */
  readonly signature: string | undefined;
  /**
   * The URL as Twilio knows it, with its scheme, host and query: what the number's webhook says, and for the socket what
   * TwiML said, with `wss:`. Behind a proxy that is not what the server sees.
   */
  readonly url: string;
  /** The form of the webhook; a name that came several times has all its values. Default: none, as of a socket. */
  readonly form?: Readonly<Record<string, string | readonly string[]>>;
}

/**
 * Whether Twilio has signed a request: HMAC-SHA1 over the URL and the form's fields in order, compared in constant time. The
 * URL is tried with and without its port, and as `URL` writes it, because Twilio has signed all of these.
 *
 * It says who made the request, and not that it came only once: a socket wants a single-use token, too.
 */
export function isTwilioSignature({ authToken, form = {}, signature, url }: SignedRequest): boolean {
  if (signature === undefined || authToken === '') return false;
  const given = Buffer.from(signature);
  // All are compared, so that the time says nothing of which one it was.
  return [url, URL.parse(url)?.href ?? url]
    .flatMap((candidate) => [withPort(candidate), withoutPort(candidate)])
    .map((candidate) => isEqual(given, Buffer.from(twilioSignature(authToken, candidate, form))))
    .includes(true);
}

/** The signature that Twilio gives to a request. For doubles and tests. */
export function twilioSignature(
  authToken: string,
  url: string,
  form: Readonly<Record<string, string | readonly string[]>> = {},
): string {
  const fields = Object.keys(form)
    .toSorted()
    .flatMap((name) => {
      const value = form[name] ?? '';
      // A value that came twice counts once.
      return typeof value === 'string'
        ? [name + value]
        : [...new Set(value)].toSorted().map((one) => name + one);
    });
  return createHmac('sha1', authToken)
    .update(url + fields.join(''))
    .digest('base64');
}

function isEqual(a: Buffer, b: Buffer): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}

/** The parts of a URL as it was written: `URL` would write some characters anew, and they were signed. */
const urlParts =
  /^(?<scheme>[a-z][a-z0-9+.-]*:\/\/)(?<host>(?:[^/?#@]*@)?(?:\[[^\]]*\]|[^/?#:]*))(?<port>:\d*)?/iu;

function withoutPort(url: string): string {
  return url.replace(urlParts, '$<scheme>$<host>');
}

/** Twilio adds 80 for all but `https:`, `wss:` too. */
function withPort(url: string): string {
  return url.replace(urlParts, (whole: string, scheme: string, host: string, port: string | undefined) =>
    port === undefined ? `${scheme}${host}:${scheme.toLowerCase() === 'https://' ? 443 : 80}` : whole,
  );
}

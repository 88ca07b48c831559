import { SpillwayError } from '@spillway/core';
import { twilioSignature } from '../../telephony/twilio-signature.ts';

/** How a webhook is asked. */
export interface WebhookOptions {
  readonly authToken: string | undefined;
  readonly callId: string;
  readonly timeoutMs: number;
}

/** A webhook's answer is a few lines. */
const maxTwimlLength = 65_536;
/** Of what a server says instead, so many characters are shown. */
const maxShownLength = 300;

/**
 * Asks the webhook of a number what to do with a call, and reads which socket its TwiML wants.
 *
 * @throws {SpillwayError} `call_refused`; with what the server said instead: the text of its `<Say>`, or its first line.
 */
export async function askWebhook(
  url: string,
  { authToken, callId, timeoutMs }: WebhookOptions,
): Promise<{ readonly parameters: Readonly<Record<string, string>>; readonly streamUrl: string }> {
  const form = {
    AccountSid: `AC${callId.slice(2)}`,
    CallSid: callId,
    CallStatus: 'ringing',
    Direction: 'inbound',
    From: '+15550100',
    To: '+15550199',
  };
  const headers: Record<string, string> =
    authToken === undefined ? {} : { 'x-twilio-signature': twilioSignature(authToken, url, form) };
  let twiml = '';
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body: new URLSearchParams(form),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const decoder = new TextDecoder();
    for await (const bytes of response.body ?? []) {
      twiml += decoder.decode(bytes, { stream: true });
      if (twiml.length > maxTwimlLength) throw new Error(`it has more than ${maxTwimlLength} characters`);
    }
    if (!response.ok) throw new Error(`it answers ${response.status}${saidBy(twiml)}`);
  } catch (error) {
    throw refused(`expected TwiML from ${url}: ${error instanceof Error ? error.message : ''}`);
  }
  const stream =
    /<Connect\b[^>]*>\s*<Stream\b(?<attributes>[^>]*)>(?<inside>[^]*?)<\/Stream>/u.exec(twiml)?.groups ??
    /<Connect\b[^>]*>\s*<Stream\b(?<attributes>[^>]*)\/>/u.exec(twiml)?.groups;
  const streamUrl = attribute(stream?.['attributes'] ?? '', 'url');
  if (streamUrl === undefined)
    throw refused(`expected TwiML with <Connect><Stream url="…">, got none${saidBy(twiml)}`);
  const parameters: Record<string, string> = {};
  for (const [, attributes = ''] of (stream?.['inside'] ?? '').matchAll(/<Parameter\b([^>]*)\/?>/gu)) {
    const name = attribute(attributes, 'name');
    if (name !== undefined) parameters[name] = attribute(attributes, 'value') ?? '';
  }
  return { parameters, streamUrl };
}

/** What a server said instead of a socket, behind a colon; empty: nothing. */
function saidBy(body: string): string {
  const said = /<Say\b[^>]*>([^<]*)/u.exec(body)?.[1];
  const words = said === undefined ? body.trim().split(/[\r\n]/u, 1)[0] : unescaped(said).trim();
  return words === undefined || words === '' ? '' : `: ${words.slice(0, maxShownLength)}`;
}

function attribute(text: string, name: string): string | undefined {
  const value = new RegExp(`\\b${name}="([^"]*)"`, 'u').exec(text)?.[1];
  return value === undefined ? undefined : unescaped(value);
}

function unescaped(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&');
}

function refused(message: string): SpillwayError<'call_refused'> {
  return new SpillwayError('call_refused', message);
}

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

/**
 * Asks the webhook of a number what to do with a call, and reads which socket its TwiML wants.
 *
 * @throws {SpillwayError} `call_refused`
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
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    const decoder = new TextDecoder();
    for await (const bytes of response.body ?? []) {
      twiml += decoder.decode(bytes, { stream: true });
      if (twiml.length > maxTwimlLength) throw new Error(`it has more than ${maxTwimlLength} characters`);
    }
  } catch (error) {
    throw refused(`expected TwiML from ${url}: ${error instanceof Error ? error.message : ''}`);
  }
  const stream =
    /<Connect\b[^>]*>\s*<Stream\b(?<attributes>[^>]*)>(?<inside>[^]*?)<\/Stream>/u.exec(twiml)?.groups ??
    /<Connect\b[^>]*>\s*<Stream\b(?<attributes>[^>]*)\/>/u.exec(twiml)?.groups;
  const streamUrl = attribute(stream?.['attributes'] ?? '', 'url');
  if (streamUrl === undefined) throw refused('expected TwiML with <Connect><Stream url="…">');
  const parameters: Record<string, string> = {};
  for (const [, attributes = ''] of (stream?.['inside'] ?? '').matchAll(/<Parameter\b([^>]*)\/?>/gu)) {
    const name = attribute(attributes, 'name');
    if (name !== undefined) parameters[name] = attribute(attributes, 'value') ?? '';
  }
  return { parameters, streamUrl };
}

function attribute(text: string, name: string): string | undefined {
  const value = new RegExp(`\\b${name}="([^"]*)"`, 'u').exec(text)?.[1];
  return value
    ?.replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&');
}

function refused(message: string): SpillwayError<'call_refused'> {
  return new SpillwayError('call_refused', message);
}

import { expect } from 'vitest';
import { metric, payloads, postChat } from './requests.ts';

/** A stream's URL, and the response that named it. */
export interface OpenedStream {
  readonly url: string;
  readonly response: Response;
}

/** Opens a stream by a chat completion. */
export async function openStream(
  gatewayUrl: string,
  model: string,
  options?: Parameters<typeof postChat>[2],
): Promise<OpenedStream> {
  const response = await postChat(gatewayUrl, model, options);
  const location = response.headers.get('content-location');
  expect(location).toMatch(/^\/streams\/[\w-]{32}$/);
  return { url: gatewayUrl + location, response };
}

/**
 * What a stream has: as the provider sent it, while all of it fits into the window. The first reader may have got
 * fewer, larger events, if it was slow.
 */
export async function storedText(url: string, headers: Record<string, string> = {}): Promise<string> {
  return await (await fetch(url, { headers })).text();
}

/** A stream that has ended, and what it has. */
export async function wholeStream(
  gatewayUrl: string,
  model: string,
): Promise<{ url: string; text: string; next: string }> {
  const { response, url } = await openStream(gatewayUrl, model);
  await response.text();
  const text = await storedText(url);
  const next = (await fetch(url, { method: 'HEAD' })).headers.get('stream-next-offset') ?? '';
  return { url, text, next };
}

/** Reads a stream's own events, as an EventSource asks for them. */
export function readEvents(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { headers: { accept: 'text/event-stream', ...headers } });
}

/** Events less the ids that the gateway gave them. */
export function withoutIds(text: string): string {
  return text.replaceAll(/^id: [\d.]+(?:\r\n|\r|\n)/gm, '');
}

/** The ids of events, in order. */
export function idsOf(text: string): string[] {
  return [...text.matchAll(/^id: ([\d.]+)$/gm)].map(([, id]) => id ?? '');
}

/** The text of a reply. */
export function contentOf(datas: readonly string[]): string {
  return datas
    .filter((data) => data !== '[DONE]')
    .map((data) => {
      const { choices } = JSON.parse(data) as { choices: { delta: { content?: string } }[] };
      return choices[0]?.delta.content ?? '';
    })
    .join('');
}

/** The text of a reply in an event stream. */
export function contentIn(text: string): string {
  return contentOf(payloads(text));
}

/** The code of an error response. */
export async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { error: { code: string } }).error.code;
}

/** How many streams ended in a state. */
export function ended(adminUrl: string, state: string): Promise<number> {
  return metric(adminUrl, `spillway_streams_ended_total{state="${state}"}`);
}

/** Offset `n` as it is on URLs. */
export function offset(n: number): string {
  return String(n).padStart(16, '0');
}

import { connect, type Socket } from 'node:net';
import OpenAI from 'openai';
import { onTestFinished } from 'vitest';
import { within } from '../../../core/test/support/within.ts';
import type { RequestStats } from '../../src/simulate/stats.ts';

/** What a chat completion request says, as JSON. */
export function chatBody(model: string, stream = true): string {
  return JSON.stringify({ model, stream, messages: [{ role: 'user', content: 'Hello' }] });
}

/** Sends a chat completion request with plain `fetch`. */
export function postChat(
  url: string,
  model: string,
  options: { stream?: boolean; headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...options.headers },
    body: chatBody(model, options.stream ?? true),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

/** The official SDK, pointed at a gateway. */
export function openai(url: string, options: { apiKey?: string; maxRetries?: number } = {}): OpenAI {
  return new OpenAI({
    baseURL: `${url}/v1`,
    apiKey: options.apiKey ?? 'none',
    maxRetries: options.maxRetries ?? 0,
  });
}

/** A client on a bare socket, which reads only when it is told to. */
export interface RawClient {
  readonly socket: Socket;
  /** What it read so far. */
  readonly received: () => string;
  /** Resolves when the connection is over, in whatever way; rejects when that takes too long. */
  readonly closed: () => Promise<void>;
}

/** Sends a streaming request over a bare socket. A client with `reads: false` never reads a byte. */
export async function rawChat(
  url: string,
  model: string,
  { reads = true }: { reads?: boolean } = {},
): Promise<RawClient> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  let received = '';
  socket.setEncoding('latin1').on('data', (text: string) => (received += text));
  if (!reads) socket.pause();
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  onTestFinished(() => void socket.destroy());
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  const body = chatBody(model);
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  return { socket, received: () => received, closed: () => within(closed, 'the connection to close') };
}

/** What the simulator says of its requests. */
export async function simulatorStats(url: string): Promise<readonly RequestStats[]> {
  const response = await fetch(`${url}/stats`);
  return ((await response.json()) as { requests: RequestStats[] }).requests;
}

/**
 * The value of one of the gateway's metrics, with its first labels as they are printed: `name{state="failed"}`.
 * Series that differ in the labels behind those add up.
 */
export async function metric(adminUrl: string, series: string): Promise<number> {
  return metricIn(await (await fetch(`${adminUrl}/metrics`)).text(), series);
}

/** The same of metrics that were fetched before. */
export function metricIn(text: string, series: string): number {
  const start = series.replace(/\}$/, '');
  const lines = text
    .split('\n')
    .filter((line) => line.startsWith(start) && /^[ {,}]/.test(line.slice(start.length)));
  if (lines.length === 0) throw new Error(`there is no series ${series}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/** The `data:` payloads of an event stream. */
export function payloads(text: string): string[] {
  return text
    .split(/\r\n|\r|\n/)
    .filter((line) => line.startsWith('data: '))
    .map((line) => line.slice(6));
}

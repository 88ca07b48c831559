import type { IncomingHttpHeaders } from 'node:http';
import { chat } from './chat-events.ts';
import { completions } from './completion-events.ts';
import { generateContent } from './gemini-events.ts';
import { messages } from './message-events.ts';
import type { ReplyFormat } from './reply-format.ts';
import { responses } from './response-events.ts';

/** A path on which the simulated model answers. */
export interface Endpoint {
  readonly format: ReplyFormat;
  /** The model, where the path says it and not the body. */
  readonly model?: string;
  /** Whether the reply is to be a stream, where the path says it and not the body. */
  readonly stream?: boolean;
}

const formats = new Map<string, ReplyFormat>([
  ['/v1/chat/completions', chat],
  ['/v1/completions', completions],
  ['/v1/responses', responses],
  ['/v1/messages', messages],
]);

/** The paths that say it as they are, for whoever looks for one. */
export const generatePaths = [...formats.keys()].join(', ');

export function endpointOf(path: string): Endpoint | undefined {
  const format = formats.get(path);
  if (format !== undefined) return { format };
  // Behaviour may have colons of its own: the action is behind the last.
  const [, model, action] = /^\/v1\w*\/models\/(.+):(streamG|g)enerateContent$/.exec(path) ?? [];
  if (model === undefined) return undefined;
  return { format: generateContent, model: decodeURIComponent(model), stream: action === 'streamG' };
}

/** Gemini's SDK asks below /v1, too: its key tells it apart. */
export function isGemini(path: string, headers: IncomingHttpHeaders): boolean {
  return path.startsWith('/v1beta/') || headers['x-goog-api-key'] !== undefined;
}

/** How errors are written. */
export function errorFormat(path: string, headers: IncomingHttpHeaders): ReplyFormat {
  const endpoint = endpointOf(path);
  if (endpoint !== undefined) return endpoint.format;
  if (isGemini(path, headers)) return generateContent;
  return headers['anthropic-version'] === undefined ? chat : messages;
}

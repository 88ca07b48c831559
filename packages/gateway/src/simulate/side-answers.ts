import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { checked } from './behaviour.ts';
import { isGemini } from './endpoints.ts';

/** What a provider answers besides what its model generates. `undefined`: nothing. */
export function sideAnswer(method: string, path: string, headers: IncomingHttpHeaders): object | undefined {
  if (method !== 'GET' || !/^\/v1(?:beta)?\/models$/.test(path)) return undefined;
  if (isGemini(path, headers)) {
    return { models: [{ name: 'models/sim', supportedGenerationMethods: ['generateContent'] }] };
  }
  if (headers['anthropic-version'] === undefined) {
    return { object: 'list', data: [{ id: 'sim', object: 'model', created: 0, owned_by: 'simulated' }] };
  }
  const model = { type: 'model', id: 'sim', display_name: 'Simulated', created_at: '2026-01-01T00:00:00Z' };
  return { data: [model], has_more: false, first_id: 'sim', last_id: 'sim' };
}

const embeddingRequest = z.looseObject({
  model: z.string().default('sim'),
  input: z.union([z.string(), z.array(z.unknown())], {
    error: ({ input }) => `expected string or array, received ${typeof input}`,
  }),
  encoding_format: z.enum(['base64', 'float']).default('float'),
});

/** So many numbers has an embedding. */
const dimensions = 8;

/** OpenAI's embeddings: the same numbers for the same text. */
function embeddings(body: unknown): object {
  const { model, input, encoding_format: encoding } = checked(embeddingRequest, body);
  const data = [input].flat().map((text, index) => {
    const digest = hash('sha256', JSON.stringify(text), 'buffer');
    const numbers = Float32Array.from(digest.subarray(0, dimensions), (byte) => byte / 256);
    const embedding = encoding === 'float' ? [...numbers] : Buffer.from(numbers.buffer).toString('base64');
    return { object: 'embedding', index, embedding };
  });
  return { object: 'list', data, model, usage: { prompt_tokens: data.length, total_tokens: data.length } };
}

/** Anthropic's count of tokens: four characters each. */
function countTokens(body: unknown): object {
  const { messages } = checked(z.looseObject({ messages: z.array(z.unknown()) }), body);
  return { input_tokens: Math.ceil(JSON.stringify(messages).length / 4) };
}

/** The paths that answer a body, and how. */
export const bodyAnswers: ReadonlyMap<string, (body: unknown) => object> = new Map([
  ['/v1/embeddings', embeddings],
  ['/v1/messages/count_tokens', countTokens],
]);

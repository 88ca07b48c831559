import { expectUrl } from '../expect-access.ts';
import { expectWhole } from '@spillway/core/invalid';
import type { ModelTool } from '../model/model-tool.ts';
import { checkOfArguments } from './arguments-check.ts';
import type { CallTool } from './call-tool.ts';

/** A tool that is somebody's HTTP endpoint. */
export interface WebhookToolOptions extends ModelTool, Pick<CallTool, 'deadlineMs' | 'fallback'> {
  /** Where it is: `http:` or `https:`. A redirect is a failure. */
  readonly url: string;
  /** Headers beside `content-type`, such as a key. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The longest result, in bytes of its body: 1 to 1 MiB. A longer one is a failure. Default: 32,768. */
  readonly maxResultBytes?: number;
}

/**
 * A tool that is called by HTTP: `POST url` with `{"call":…,"id":…,"tool":…,"arguments":{…}}`, where `id` is the model's own of this
 * request, to be done once. What a status of 200 to 299 has as its body is told to the model, as text. Any other status,
 * a redirect, a body that is too long or no UTF-8, and no answer within `deadlineMs` are failures: the model is told
 * `fallback`.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const weather = webhookTool({
 *   name: 'weather',
 *   description: 'The weather of a town, now.',
 *   parameters: { type: 'object', properties: { town: { type: 'string' } }, required: ['town'] },
 *   url: 'https://tools.example/weather',
 *   fallback: 'The weather is not known now.',
 * });
 * ```
 */
export function webhookTool(options: WebhookToolOptions): CallTool {
  const {
    deadlineMs,
    description,
    fallback,
    headers = {},
    maxResultBytes = 32_768,
    name,
    parameters,
    url,
  } = options;
  expectUrl(url, ['http:', 'https:'], `tools: ${name}: url`);
  expectWhole(`tools: ${name}: maxResultBytes`, maxResultBytes, 1, 1_048_576);
  // Whoever configures a tool learns at once that its schema is none, and not in a call.
  checkOfArguments(options);
  return {
    name,
    description,
    parameters,
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    ...(fallback === undefined ? {} : { fallback }),
    async run(input, { callId, signal, toolCallId }) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify({ call: callId, id: toolCallId, tool: name, arguments: input }),
        redirect: 'error',
        signal,
      });
      if (!response.ok) {
        await response.body?.cancel();
        throw new Error(`The webhook answered with status ${response.status}.`);
      }
      return textOf(response, maxResultBytes);
    },
  };
}

/** A body as text, if it is not too long. */
async function textOf({ body }: Response, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  let bytes = 0;
  // Leaving the loop cancels the body.
  for await (const chunk of body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw new Error(`The webhook's result is longer than ${maxBytes} bytes.`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

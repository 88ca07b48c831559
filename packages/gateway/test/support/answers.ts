/** A short answer in one format: how it is asked for, and what a provider writes. */
export interface FormatAnswer {
  readonly format: string;
  readonly path: string;
  readonly body: string;
  /** Its events: what it says, the reason why it ended, and the end marker, where there is one. */
  readonly events: { readonly text: string; readonly reason: string; readonly marker: string };
}

const unnamed = (payload: object): string => `data: ${JSON.stringify(payload)}\n\n`;
const named = (payload: { readonly type: string; readonly [key: string]: unknown }): string =>
  `event: ${payload.type}\n${unnamed(payload)}`;
const asksForEvents = '{"model":"m","stream":true,"messages":[],"input":"Hi","prompt":"Hi","max_tokens":9}';

/** The same answer in every format: "one two". */
export const formatAnswers: readonly [FormatAnswer, ...FormatAnswer[]] = [
  {
    format: 'openai-chat',
    path: '/v1/chat/completions',
    body: asksForEvents,
    events: {
      text: ['one', ' two']
        .map((content) => unnamed({ choices: [{ index: 0, delta: { content }, finish_reason: null }] }))
        .join(''),
      reason: unnamed({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }),
      marker: 'data: [DONE]\n\n',
    },
  },
  {
    format: 'openai-completions',
    path: '/v1/completions',
    body: asksForEvents,
    events: {
      text: ['one', ' two']
        .map((text) => unnamed({ choices: [{ index: 0, text, finish_reason: null }] }))
        .join(''),
      reason: unnamed({ choices: [{ index: 0, text: '', finish_reason: 'length' }] }),
      marker: 'data: [DONE]\n\n',
    },
  },
  {
    format: 'openai-responses',
    path: '/v1/responses',
    body: asksForEvents,
    events: {
      text: ['one', ' two']
        .map((delta, at) => named({ type: 'response.output_text.delta', sequence_number: at, delta }))
        .join(''),
      // The only ends are markers.
      reason: '',
      marker: named({ type: 'response.cancelled', sequence_number: 2, response: { status: 'cancelled' } }),
    },
  },
  {
    format: 'anthropic-messages',
    path: '/v1/messages',
    body: asksForEvents,
    events: {
      text:
        named({ type: 'message_start', message: { stop_reason: null, content: [] } }) +
        ['one', ' two']
          .map((text) =>
            named({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }),
          )
          .join(''),
      reason: named({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: {} }),
      marker: named({ type: 'message_stop' }),
    },
  },
  {
    format: 'gemini',
    path: '/v1beta/models/m:streamGenerateContent?alt=sse',
    body: '{}',
    events: {
      text: ['one', ' two']
        .map((text) => unnamed({ candidates: [{ content: { parts: [{ text }] }, index: 0 }] }))
        .join(''),
      reason: unnamed({ candidates: [{ content: { parts: [] }, finishReason: 'STOP', index: 0 }] }),
      marker: '',
    },
  },
];

/** Providers of all APIs at one address. */
export function upstreamsAt(url: string, settings = ''): string {
  return `url=${url}/v1${settings} api=anthropic,url=${url}${settings} api=gemini,url=${url}${settings}`;
}

/** Asks for an answer as its clients do. */
export async function ask(
  gatewayUrl: string,
  { body, path }: Pick<FormatAnswer, 'body' | 'path'>,
  headers: Readonly<Record<string, string>> = {},
  send: (url: string, init: RequestInit) => Promise<Response> = fetch,
): Promise<Response> {
  return await send(gatewayUrl + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
}

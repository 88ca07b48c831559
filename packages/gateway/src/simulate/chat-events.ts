import type { Behaviour } from './behaviour.ts';

/** What the simulated model says: plain words, with characters of two, three and four bytes among them. */
const words = [
  'Water ',
  'flows ',
  'over ',
  'the ',
  'spillway ',
  'when ',
  'the ',
  'lake ',
  'is ',
  'full, ',
  'so ',
  'the ',
  'dam ',
  'holds. ',
  'Où ',
  'l’eau ',
  'trouve ',
  'sa ',
  'voie, ',
  '水は',
  '低きに',
  '流れる。',
  '🌊 ',
] as const;

/** The text of token `index`: the same for everybody, so that a reader can check what it got. */
export function tokenText(index: number, size: number): string {
  const word = words[index % words.length] ?? '';
  return size <= word.length ? word : word.repeat(Math.ceil(size / word.length)).slice(0, size);
}

/** One chat completion as events. */
export interface ChatReply {
  readonly id: string;
  readonly model: string;
  readonly createdS: number;
  readonly withUsage: boolean;
}

/** Writes the events of a reply. */
export class ChatEvents {
  readonly #head: string;
  readonly #reply: ChatReply;

  constructor(reply: ChatReply) {
    this.#reply = reply;
    const { id, createdS, model } = reply;
    this.#head = `data: {"id":${JSON.stringify(id)},"object":"chat.completion.chunk","created":${createdS},"model":${JSON.stringify(model)},"system_fingerprint":"fp_simulated",`;
  }

  role(): string {
    return this.#choice('{"role":"assistant","content":"","refusal":null}', 'null');
  }

  token(text: string): string {
    return this.#choice(`{"content":${JSON.stringify(text)}}`, 'null');
  }

  /** The finish reason, the usage if it was asked for, and the end marker. */
  *end(tokens: number): Generator<string> {
    yield this.#choice('{}', '"stop"');
    if (this.#reply.withUsage)
      yield `${this.#head}"choices":[],"usage":${JSON.stringify(usage(tokens))}}\n\n`;
    yield 'data: [DONE]\n\n';
  }

  /** A token on a line of so many bytes. */
  line(bytes: number): string {
    const empty = this.token('').length;
    return this.token('x'.repeat(Math.max(0, bytes - empty)));
  }

  error(): string {
    return `data: ${errorJson('The simulated model failed.', 'server_error', 'simulated_failure')}\n\n`;
  }

  #choice(delta: string, finishReason: string): string {
    return `${this.#head}"choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finishReason}}]}\n\n`;
  }
}

/** The same reply in one piece. */
export function completion(reply: ChatReply, { tokens, size }: Pick<Behaviour, 'size' | 'tokens'>): string {
  let content = '';
  for (let index = 0; index < tokens; index += 1) content += tokenText(index, size);
  return JSON.stringify({
    id: reply.id,
    object: 'chat.completion',
    created: reply.createdS,
    model: reply.model,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content, refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: usage(tokens),
  });
}

export function errorJson(message: string, type: string, code: string): string {
  return JSON.stringify({ error: { message, type, param: null, code } });
}

function usage(tokens: number): object {
  return { prompt_tokens: 1, completion_tokens: tokens, total_tokens: tokens + 1 };
}

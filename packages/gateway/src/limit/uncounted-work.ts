import { GatewayError } from '@spillway/server/errors';
import { withoutKeys } from '../http/route.ts';
import { runsModel } from './asked-model.ts';
import type { LimitedRequest } from './limited-request.ts';
import type { Scope } from './scope.ts';

type Asked = Pick<LimitedRequest, 'members' | 'method' | 'path' | 'route'>;

/**
 * The ends of paths that may be asked for under a budget beside those of a known format: their work is over with their answer, whose
 * tokens stand in it, or are few. All others are refused, because what providers offer grows: batches, training, films, agents, and
 * keys by which a client talks with the provider itself. Ids have the beginning that OpenAI gives them, so that no verb passes as
 * an id.
 */
const countedEnds = [
  // OpenAI's API, and those like it.
  'embeddings',
  'moderations',
  'audio/(?:speech|transcriptions|translations)',
  'images/(?:edits|generations|variations)',
  'responses/(?:compact|input_tokens)',
  'rerank',
  'score',
  'classify',
  'pooling',
  'tokenize',
  'detokenize',
  'ocr',
  // What only keeps something there.
  'chat/completions/chatcmpl[\\w-]+',
  'conversations(?:/conv_[\\w-]+(?:/items)?)?',
  'vector_stores(?:/vs_[\\w-]+(?:/(?:files|file_batches|search))?)?',
  'containers(?:/cntr_[\\w-]+/files)?',
  'assistants(?:/asst_[\\w-]+)?',
  'threads(?:/thread_[\\w-]+(?:/messages(?:/msg_[\\w-]+)?)?)?',
  // Anthropic's.
  'messages/count_tokens',
  // Gemini's.
  '[\\w.~@-]+:(?:batchEmbedContents|countTokens|embedContent|predict)',
  'cachedContents',
  // Ollama's.
  'api/(?:chat|embed|embeddings|generate|show)',
];
/** Nothing in it is encoded, or a parameter: a provider may read a path more freely than the gateway. */
const counted = new RegExp(`^(?:/[\\w.~@-]+)*?/(?:${countedEnds.join('|')})$`);

/** The members of a body that have an answer made after its request is over: OpenAI's, and xAI's. */
export const laterPaths: readonly (readonly [string])[] = [['background'], ['deferred']];

/**
 * Refuses a request whose tokens the gateway will not see, where it is to be held against a budget of tokens or money: it would be
 * a way around.
 *
 * @throws {GatewayError} `model_not_allowed`
 */
export function checkCounted(asked: Asked, scopes: readonly Scope[]): void {
  const [budget] = scopes.flatMap(({ budgets }) => budgets);
  if (budget === undefined || !runsModel(asked) || !startsUncounted(asked)) return;
  const message = `The gateway cannot count what POST ${withoutKeys(asked.path.slice(0, 100))} uses, because it goes on elsewhere or is not known here, so it cannot be held against ${budget.name}: whoever has budgets of tokens or money may not start batches, training, responses in the background, keys for clients, calls, and what the gateway does not know. A tenant and key with limits of requests and streams alone may.`;
  throw new GatewayError('model_not_allowed', message);
}

function startsUncounted({ members = [], path, route }: Asked): boolean {
  // A conversation has no path: what it uses is seen.
  if (route.format === undefined && path !== '' && !counted.test(path)) return true;
  return members.some(
    ({ path: [name, ...below], text }) =>
      below.length === 0 && laterPaths.some(([later]) => later === name) && !isOff(text),
  );
}

function isOff(text: string | undefined): boolean {
  return text === undefined || text === 'false' || text === 'null';
}

import { GatewayError } from '@spillway/server/errors';
import { runsModel } from './asked-model.ts';
import type { LimitedRequest } from './limited-request.ts';
import type { Scope } from './scope.ts';

type Asked = Pick<LimitedRequest, 'members' | 'method' | 'path' | 'route'>;

/**
 * What stands in paths whose work goes on without the gateway, or elsewhere: batches, training, runs of assistants, films, and
 * keys and calls by which a client talks with the provider itself. They are looked for anywhere in a path and in any case,
 * because a provider may read a path more freely than the gateway.
 */
const segments = new Set([
  'asyncbatchembedcontent',
  'auth_tokens',
  'batches',
  'batchgeneratecontent',
  'client_secrets',
  'evals',
  'fine_tuning',
  'predictlongrunning',
  'realtime',
  'realtimeapi',
  'runs',
  'videos',
]);
/** Between them. Those that are encoded here may be decoded by a provider. */
const separators = /[/:;]|%(?:2f|3a|3b)/;

/** The member of a body that has an answer made after its request is over. */
export const backgroundPath = ['background'] as const;

/**
 * Refuses a request whose tokens the gateway will not see, where it is to be held against a budget of tokens or money: it would be
 * a way around.
 *
 * @throws {GatewayError} `model_not_allowed`
 */
export function checkCounted(asked: Asked, scopes: readonly Scope[]): void {
  const [budget] = scopes.flatMap(({ budgets }) => budgets);
  if (budget === undefined || !runsModel(asked) || !startsUncounted(asked)) return;
  const message = `What this request starts goes on without the gateway, so its tokens cannot be held against ${budget.name}: whoever has budgets of tokens or money may not start batches, training, responses in the background, keys for clients and calls. A tenant and key with limits of requests and streams alone may.`;
  throw new GatewayError('model_not_allowed', message);
}

function startsUncounted({ members = [], path, route }: Asked): boolean {
  if (
    route.format === undefined &&
    path
      .toLowerCase()
      .split(separators)
      .some((part) => segments.has(part))
  )
    return true;
  const background = members.find(
    ({ path: [name, ...below] }) => name === backgroundPath[0] && below.length === 0,
  );
  return !['false', 'null', undefined].includes(background?.text);
}

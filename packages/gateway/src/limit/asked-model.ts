import { GatewayError } from '@spillway/server/errors';
import { fitsAny } from '../config/glob.ts';
import type { Price } from '../config/limits.ts';
import type { LimitedRequest } from './limited-request.ts';
import { modelNames } from './model-names.ts';
import { type PricedRequest, priceAt } from './price-of.ts';

type AskedModel = Pick<
  LimitedRequest,
  'isFirstProvider' | 'method' | 'model' | 'path' | 'provider' | 'replaced' | 'targets'
>;

/**
 * Paths that have no model run: uploads, and what is cancelled by its id. A text of any kind before `/cancel` would be a way around:
 * a provider may read `/v1/chat/completions;x=/cancel` as it likes.
 */
const noModel = new RegExp(
  [
    '^(?:/v1|/openai|/openai/v1)/(?:files|uploads(?:/[\\w-]+)*)$',
    '^(?:/v1|/openai|/openai/v1)/(?:batches|responses|fine_tuning/jobs|vector_stores/[\\w-]+/file_batches|threads/[\\w-]+/runs)/[\\w-]+/cancel$',
    '^/v1/messages/batches/[\\w-]+/cancel$',
    '^/v1/realtime/calls/[\\w-]+/(?:hangup|reject)$',
    '^/v1beta/batches/[\\w-]+:cancel$',
  ].join('|'),
);

/**
 * Whether a request may have a model run. Those that read, delete, cancel or upload have none run. All others have, as far
 * as is known: paths come that nobody knows yet.
 */
export function runsModel({ method, path }: Pick<LimitedRequest, 'method' | 'path'>): boolean {
  return method !== 'GET' && method !== 'DELETE' && !noModel.test(path);
}

/**
 * Refuses a request that has a model run which a tenant may not use, or none that is named.
 *
 * @throws {GatewayError} `model_not_allowed`
 */
export function checkModel(models: readonly string[], request: AskedModel): void {
  const { isFirstProvider, model, replaced = request } = request;
  const { provider, targets } = replaced;
  if (!runsModel(request)) return;
  const allowed = models.join(', ').slice(0, 300);
  if (model === undefined) {
    const message = `This key may use the models ${allowed} only, and the request names none: expected "model", a text.`;
    throw new GatewayError('model_not_allowed', message);
  }
  // Without a provider's name, a pattern means the models of the first one. A name of the operator's own is no provider's.
  const names =
    targets === undefined
      ? modelNames(model, provider.name).filter(
          (name) => isFirstProvider || name.startsWith(`${provider.name}/`),
        )
      : [model];
  if (!hasDots.test(model) && names.some((name) => fitsAny(models, name))) return;
  const message = `The model ${model.slice(0, 100)} is not among those that this key may use: ${allowed}.`;
  throw new GatewayError('model_not_allowed', message);
}

/** What a provider may read as the way to another model: `small/../large`. */
const hasDots = /(?:^|[/\\])\.\.?(?:[/\\]|$)/;

/** The error of a request under a limit of cost whose model, or one of whose targets, costs nobody knows what. */
export function unpriced(prices: readonly Price[], request: PricedRequest, dateMs: number): GatewayError {
  const { model = '', targets = [] } = request;
  const target = targets.find((each) => priceAt(prices, request, each, dateMs) === undefined);
  const named = `The model ${model.slice(0, 100)}`;
  const what =
    target !== undefined
      ? `${named} may be answered by ${target.provider.name}/${target.model.slice(0, 100)}, which has no price`
      : model === ''
        ? 'The request names no model'
        : `${named} has no price`;
  const message = `${what}, so its cost cannot be held against costPerDay or costPerMonth: the gateway needs a row of "price" that fits.`;
  return new GatewayError('model_not_allowed', message);
}

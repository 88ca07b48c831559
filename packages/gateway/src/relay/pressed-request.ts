import type { Served } from '../config/read-models.ts';
import type { Asker } from '@spillway/server/access/asker';
import type { BodyEdit } from '../http/edit-body.ts';
import { modelEdit } from '../http/request-body.ts';
import { HeldBody } from '../memory/held-body.ts';
import type { GivenWay, PressedRequest, Priority } from '../pressure/give-way.ts';
import { type RelayRequest, type RequestTarget, targetsFor, withoutProvider } from './relay-request.ts';

/** What pressure has to know beside the request itself. */
export interface PressedOptions {
  /** The time between two writes that the client asks for; 0: none. */
  readonly mergeMs: number;
  /** Default: `normal`. */
  readonly priority: Priority | undefined;
  readonly served: Served;
}

/** A request, as pressure looks at it. */
export function pressedRequest(
  request: RelayRequest,
  { caller }: Pick<Asker, 'caller'>,
  { mergeMs, priority = 'normal', served }: PressedOptions,
): PressedRequest {
  const { read } = request.body;
  return {
    ...request,
    tenant: caller.tenant,
    priority,
    mergeMs,
    // Of a form, nothing but its model can be edited.
    body: read?.isJson === true ? read : undefined,
    mayBe: (model) => otherTarget(request, model, served) !== undefined,
  };
}

/**
 * The request with what gave way, for each of its targets as that one knows it. Its body shares the bytes of the first one, and
 * releases it.
 */
export function yieldingRequest(
  request: RelayRequest,
  { editsFor, model }: Pick<GivenWay, 'editsFor' | 'model'>,
  served: Served,
): RelayRequest {
  const { body } = request;
  const { read } = body;
  const other = model === undefined ? undefined : otherTarget(request, model, served);
  const { provider, targets } = other ?? request;
  const [first] = targets ?? [];
  const named = first?.edits ?? (other === undefined ? [] : [modelEdit(other.providerModel)]);
  const edits: readonly BodyEdit[] = [...editsFor(provider), ...named];
  if (read === undefined || edits.length === 0) return request;
  const edited = new HeldBody(read.with(edits), read);
  edited.onRelease = () => body.release();
  return {
    ...request,
    ...other,
    targets: targets?.map((target): RequestTarget => {
      return { ...target, edits: [...editsFor(target.provider), ...target.edits] };
    }),
    isDecoded: read.isDecoded,
    body: edited,
  };
}

/**
 * Where a request goes with another model, that is named as clients do; `undefined`: the request's body does not name its model, or
 * cannot be edited.
 */
function otherTarget(
  { body: { read }, route }: RelayRequest,
  model: string,
  { models, providers }: Served,
): (Pick<RelayRequest, 'provider' | 'targets'> & { readonly providerModel: string }) | undefined {
  // Gemini and Azure have the model in their paths.
  if (read?.model === undefined || (route.api !== 'openai' && route.api !== 'anthropic')) return undefined;
  const alias = models.find(({ name }) => name === model);
  const targets = alias === undefined ? [] : targetsFor(alias, route, true, (name) => [modelEdit(name)]);
  const [target] = targets;
  if (target !== undefined) return { provider: target.provider, providerModel: target.model, targets };
  const candidates = providers.filter(({ api }) => api === route.api);
  const { prefixed, rest } = withoutProvider(model, candidates);
  // A name before a slash that is no provider's of this API is not a model's of the first one.
  const provider = prefixed ?? (model.includes('/') ? undefined : candidates[0]);
  return provider && { provider, providerModel: rest, targets: undefined };
}

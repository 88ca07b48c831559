import type { Served } from '../config/read-models.ts';
import type { Asker } from '@spillway/server/access/asker';
import type { BodyEdit } from '../http/edit-body.ts';
import { modelEdit } from '../http/request-body.ts';
import { HeldBody } from '../memory/held-body.ts';
import type { MemberText } from '../limit/limited-request.ts';
import type { Limiter } from '../limit/limiter.ts';
import type { GivenWay, PressedRequest } from '../pressure/give-way.ts';
import { type RelayRequest, type RequestTarget, targetsFor, withoutProvider } from './relay-request.ts';

/** What pressure has to know beside the request itself. */
export interface PressedOptions {
  /** The time between two writes that the client asks for; 0: none. */
  readonly mergeMs: number;
  /** `undefined`: nobody has any. */
  readonly limits: Pick<Limiter, 'mayCost' | 'priorityOf'> | undefined;
  readonly served: Served;
}

/** A request, as pressure looks at it. */
export function pressedRequest(
  request: RelayRequest,
  { caller }: Pick<Asker, 'caller'>,
  { limits, mergeMs, served }: PressedOptions,
): PressedRequest {
  const { read } = request.body;
  return {
    ...request,
    tenant: caller.tenant,
    priority: limits?.priorityOf(caller) ?? 'normal',
    mergeMs,
    // Of a form, nothing but its model can be edited.
    body: read?.isJson === true ? read : undefined,
    mayBe: (model) => {
      const other = otherTarget(request, model, served);
      return other !== undefined && limits?.mayCost(caller, { ...request, ...other }) !== false;
    },
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
    members: request.members?.map((member) => asSent(member, edits)),
    targets: targets?.map((target): RequestTarget => {
      return { ...target, edits: [...editsFor(target.provider), ...target.edits] };
    }),
    isDecoded: read.isDecoded,
    body: edited,
  };
}

/** A member as it is sent, where it is a number that gave way: what an answer may not have is not reserved. */
function asSent(member: MemberText, edits: readonly BodyEdit[]): MemberText {
  const path = member.path.join('.');
  const edit = edits.find((each) => each.path.join('.') === path);
  return typeof edit?.value === 'number' ? { ...member, text: String(edit.value) } : member;
}

/**
 * Where a request goes with another model, that is named as clients do; `undefined`: the request's body does not name its model, or
 * cannot be edited.
 */
function otherTarget(
  asked: RelayRequest,
  model: string,
  { models, providers }: Served,
): OtherTarget | undefined {
  const {
    body: { read },
    route,
  } = asked;
  // Gemini and Azure have the model in their paths.
  if (read?.model === undefined || (route.api !== 'openai' && route.api !== 'anthropic')) return undefined;
  const alias = models.find(({ name }) => name === model);
  const targets = alias === undefined ? [] : targetsFor(alias, route, true, (name) => [modelEdit(name)]);
  const [target] = targets;
  const replaced = { provider: asked.provider, targets: asked.targets, by: model };
  if (target !== undefined)
    return { provider: target.provider, providerModel: target.model, replaced, targets };
  const candidates = providers.filter(({ api }) => api === route.api);
  const { prefixed, rest } = withoutProvider(model, candidates);
  // A name before a slash that is no provider's of this API is not a model's of the first one.
  const provider = prefixed ?? (model.includes('/') ? undefined : candidates[0]);
  return provider && { provider, providerModel: rest, replaced, targets: undefined };
}

/** What of a request is another model's. */
interface OtherTarget extends Pick<RelayRequest, 'provider' | 'replaced' | 'targets'> {
  readonly providerModel: string;
}

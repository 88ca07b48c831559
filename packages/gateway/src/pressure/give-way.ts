import { GatewayError } from '@spillway/server/errors';
import type { TenantLimits } from '../config/limits.ts';
import type { PressureRule } from '../config/pressure-rule.ts';
import type { Provider } from '../config/provider.ts';
import type { BodyEdit } from '../http/edit-body.ts';
import type { Route } from '../http/route.ts';
import type { RequestBody } from '../http/request-body.ts';
import { runsModel } from '../limit/asked-model.ts';
import { type CutAnswer, cutAnswer } from './answer-cuts.ts';
import { isFor, ranks, spellings } from './pressed-for.ts';
import type { Level } from './pressure-gauge.ts';

type Priority = TenantLimits['priority'];

/** A provider, as far as its bodies differ from those of others. */
type AskedProvider = Pick<Provider, 'api' | 'url'>;

/** A request, as far as pressure looks at it. */
export interface PressedRequest {
  readonly route: Pick<Route, 'format'>;
  readonly method: string;
  /** As the provider gets it. */
  readonly path: string;
  readonly provider: AskedProvider & Pick<Provider, 'name'>;
  /** Whether models without a provider's name belong to that provider. */
  readonly isFirstProvider: boolean;
  /** As the client named it. */
  readonly model: string | undefined;
  readonly wantsEvents: boolean;
  readonly tenant: string;
  readonly priority: Priority;
  /** The time between two writes that the client asks for; 0: it asks for none. */
  readonly mergeMs: number;
  /**
   * Its body, to be read and edited at paths of names that are among `cutMembers`; `undefined`: it cannot be edited.
   */
  readonly body: Pick<RequestBody, 'valuesAt'> | undefined;
  /** Whether another model can answer it, named as clients do: one of the same API. */
  readonly mayBe: (model: string) => boolean;
}

/** What gives way for one request. */
export interface GivenWay {
  /** For its body at a provider. The model is not among them. */
  readonly editsFor: (provider: AskedProvider) => readonly BodyEdit[];
  /** The time between two writes; 0: none. */
  readonly mergeMs: number;
  /** The model that answers instead, as clients name it; `undefined`: the one that was asked for. */
  readonly model: string | undefined;
  /** Why the request gets no answer; `undefined`: it gets one. */
  readonly refusal: GatewayError | undefined;
  /** All of that in the words that clients, records and operators get, such as `max_tokens=1000`. */
  readonly changed: readonly string[];
}

/** Seconds until a refused request may try again: a level that fell has stayed for at least 5 s. */
const retryAfterS = 5;

/**
 * What of a request gives way at a level of pressure: all rules of this level and those below that are for it. Of several caps the
 * lowest counts, of several models the one of the highest level, and of one level the one that is written last. `undefined`: nothing
 * gives way, or no model is asked.
 */
export function giveWay(
  level: Level,
  rules: readonly PressureRule[],
  request: PressedRequest,
): GivenWay | undefined {
  if (level === 0 || !runsModel(request)) return undefined;
  const { isFirstProvider, priority, provider, tenant } = request;
  const names = spellings(request.model, provider.name, isFirstProvider);
  const own = rules
    .filter((rule) => rule.level <= level && isFor(rule, { names, priority, tenant }))
    .toSorted((one, other) => one.level - other.level);
  if (own.length === 0) return undefined;
  const refusing = own.find(({ refuse }) => refuse !== undefined && ranks[priority] <= ranks[refuse]);
  if (refusing !== undefined) {
    const refusal = refused(level, priority);
    return { ...noCut, mergeMs: request.mergeMs, model: undefined, refusal, changed: ['refused'] };
  }
  const mergeMs =
    request.mergeMs > 0 || !request.wantsEvents
      ? request.mergeMs
      : Math.max(0, ...own.map((rule) => rule.mergeMs ?? 0));
  const { changed, editsFor } = cut(own, request);
  const model = own.findLast((rule) => rule.model !== undefined)?.model;
  // Another model's vectors, pictures or verdicts are no cheaper answers, but others.
  const isText = request.route.format !== undefined;
  const isOther = isText && model !== undefined && !names.includes(model) && request.mayBe(model);
  const other = isOther ? model : undefined;
  const told = [
    ...(mergeMs === request.mergeMs ? [] : [`merge_ms=${mergeMs}`]),
    ...changed,
    ...(other === undefined ? [] : [`model=${other}`]),
  ];
  if (told.length === 0) return undefined;
  return { editsFor, mergeMs, model: other, refusal: undefined, changed: told };
}

/** The edits of the body. What cannot be read or edited for certain stays as it is, for every provider. */
function cut(
  rules: readonly PressureRule[],
  { body, route: { format } }: PressedRequest,
): Pick<GivenWay, 'changed' | 'editsFor'> {
  if (format === undefined || body === undefined) return noCut;
  const caps = rules.flatMap(({ maxTokens }) => maxTokens ?? []);
  const efforts = new Set(rules.map(({ reasoningEffort }) => reasoningEffort));
  const cuts = {
    maxTokens: caps.length === 0 ? undefined : Math.min(...caps),
    reasoningEffort: (['low', 'medium', 'high'] as const).find((effort) => efforts.has(effort)),
    dropsLogprobs: rules.some(({ logprobs }) => logprobs === 'off'),
  };
  const { name } = format;
  const cutFor = (isOpenAi: boolean): CutAnswer =>
    cutAnswer({ format: name, valuesAt: (path) => body.valuesAt(path), isOpenAi }, cuts);
  const [forOpenAi, forOthers] = [cutFor(true), cutFor(false)];
  return {
    // In whatever words each provider gets it, the same is changed.
    changed: forOthers.changed,
    editsFor: (provider) => (isOpenAiOwn(provider) ? forOpenAi : forOthers).edits,
  };
}

const noCut: Pick<GivenWay, 'changed' | 'editsFor'> = { changed: [], editsFor: () => [] };

/** Whether a provider is OpenAI's own, or Azure's, which knows another name for the bound of an answer. */
function isOpenAiOwn({ api, url }: AskedProvider): boolean {
  return api === 'azure' || /^https:\/\/([\w-]+\.)*openai\.com\//.test(url);
}

function refused(level: Level, priority: Priority): GatewayError {
  const message = `The gateway is under pressure (level ${level} of 3), and takes no new requests of priority ${priority} until that is less: try again later.`;
  return new GatewayError('overloaded', message, { retryAfterS });
}

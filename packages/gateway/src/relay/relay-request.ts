import type { Provider } from '../config/provider.ts';
import type { ModelAlias, Served } from '../config/read-models.ts';
import { GatewayError } from '@spillway/server/errors';
import { HeldBody } from '../memory/held-body.ts';
import type { BodyEdit } from '../http/edit-body.ts';
import type { ReceivedBody } from '../http/received-body.ts';
import {
  geminiModelEdits,
  isJson,
  namedModel,
  promptName,
  readRequestBody,
  type RequestBody,
  tryRequestBody,
} from '../http/request-body.ts';
import type { Route } from '../http/route.ts';
import type { MemberText, ReplacedModel } from '../limit/limited-request.ts';
import { beginsAsJson, promptTokens } from '../limit/token-estimate.ts';
import type { Method } from '../source/reply.ts';

/** A request as the provider gets it. */
export interface RelayRequest {
  readonly route: Route;
  readonly method: Method;
  /** Where it goes first, as far as that is known before any is asked. */
  readonly provider: Provider;
  /** Where it may go, if its model is a name of the operator's own; `undefined`: to `provider` alone. */
  readonly targets: readonly RequestTarget[] | undefined;
  /** What it has asked for, where another model answers because of pressure; `undefined`: that is the same. */
  readonly replaced?: ReplacedModel | undefined;
  /** How long its answer may take if the request does not say; `undefined`: as long as it takes. */
  readonly budgetMs: number | undefined;
  /** Whether models without a provider's name are that provider's. */
  readonly isFirstProvider: boolean;
  /**
   * Whether the model begins as one with a provider's name does, and no provider has that name: the first of several
   * gets it. It may be a name with a slash of that provider's own, or a misspelt one.
   */
  readonly hasUnknownPrefix: boolean;
  /** The model as the client named it, for the program's log. */
  readonly model: string | undefined;
  /** The model as `provider` names it. */
  readonly providerModel: string | undefined;
  readonly wantsEvents: boolean;
  /** The client's path, without a provider's name in it. */
  readonly path: string;
  /** Whether `body` was decoded: a provider's name was cut out of the model, so that the content coding is gone. */
  readonly isDecoded: boolean;
  /** The texts at the `members` that were asked for; `undefined`: none was. */
  readonly members: readonly MemberText[] | undefined;
  /** An estimate, with the content coding read; 0 where it was not wanted, and of what is no JSON. */
  readonly promptTokens: number;
  /** How many prompts it has, each with answers of its own. 1 where that was not wanted. */
  readonly prompts: number;
  /** The client's own bytes, without a provider's name before the model. It can be read only if that was asked for. */
  readonly body: HeldBody<ReadBody>;
}

/** A body that can be read and edited until it is released. */
interface ReadBody extends Pick<RequestBody, 'isJson' | 'model' | 'textAt' | 'valuesAt'> {
  /** Whether its content coding was undone. */
  readonly isDecoded: boolean;
  /** The pieces of the body with these edits, without a provider's name before the model. */
  with(edits: readonly BodyEdit[]): Buffer[];
}

/** A place where a request may go. */
export interface RequestTarget {
  readonly provider: Provider;
  /** As the provider names it. */
  readonly model: string;
  /** How often it is the first one, beside the others. 0: only where all those before it failed. */
  readonly weight: number;
  /** With this model's name in it, where the API has it there. */
  readonly path: string;
  /** What its body differs in from the client's own; empty: it gets the request's. */
  readonly edits: readonly BodyEdit[];
}

/** A request as the client sent it. */
export interface IncomingRequest {
  readonly route: Route;
  readonly method: Method;
  readonly contentType: string | undefined;
  /** The body as it came, which is sent on if nothing has to change; `null`: there is none. */
  readonly body: ReceivedBody | null;
  /** The body without its content coding, to be read; `undefined`: it has no coding, or one that cannot be decoded. */
  readonly decoded?: ReceivedBody | undefined;
  /** The paths of members of a JSON body whose texts are wanted. Default: none. */
  readonly members?: MemberPaths | undefined;
  /** Whether the tokens of its prompt are wanted. Default: false. */
  readonly isCounted?: boolean | undefined;
  /** Whether its body may have to be edited, so that it is held in the form that can be read, too. Default: false. */
  readonly isEditable?: boolean | undefined;
}

/** Paths of names to members of a JSON body. */
export type MemberPaths = readonly (readonly string[])[];

/**
 * A model in a path: `models/provider/model`, with the slash percent-encoded or not. The AI SDK omits `models/` for
 * names with a slash. Such a path is recognised by the action at its end.
 */
const modelPath =
  /^(?<version>\/v1\w*)\/(?:models(?:\/|%2F)(?<name>[\w.-]+)|(?<bareName>[\w.-]+)(?=.*:\w+$))(?:\/|%2F)(?<rest>.+)$/i;

/**
 * A deployment in a path, with the provider's name before it. The SDK encodes the slash; an unencoded slash would
 * begin the operation.
 */
const deploymentPath = /^(?<start>\/openai\/deployments\/)(?<name>[\w.-]+)%2F(?<rest>.+)$/i;

/**
 * Reads a request as far as needed: which provider it is for, and whether events are wanted. A request without a
 * model goes to the first provider, which answers with its own error if it needs one.
 *
 * @throws {GatewayError} `not_found`; `invalid_request` if the model is ambiguous, or if a body that should be JSON
 * is not.
 */
export function readRelayRequest(request: IncomingRequest, { models, providers }: Served): RelayRequest {
  const { body, decoded, members = [], method, route } = request;
  const candidates = providers.filter(({ api }) => api === route.api);
  const [fallback] = candidates;
  if (fallback === undefined) {
    throw new GatewayError(
      'not_found',
      `No provider with the API of ${route.path} (${route.api}) is configured.`,
    );
  }
  const read = readBody(request);
  const pathModel = modelIn(route);
  const inBody = namedModel(route, read);
  const model = route.api === 'openai' ? (inBody?.model ?? pathModel) : (pathModel ?? inBody?.model);
  const about = {
    route,
    method,
    model,
    wantsEvents: route.wantsEvents ?? read?.stream === true,
    members: members.length === 0 ? undefined : members.map((path) => ({ path, text: read?.textAt(path) })),
    prompts: members.length === 0 ? 1 : Math.max(1, read?.itemsOf(promptName) ?? 1),
    promptTokens: request.isCounted === true ? bodyTokens(request, read) : 0,
  };
  const alias = model === undefined ? undefined : models.find(({ name }) => name === model);
  // Azure serves the deployment of the path, whatever its body says.
  const isNamedInBody = inBody?.model === model && (route.api === 'openai' || pathModel === undefined);
  const rename = (name: string): BodyEdit[] =>
    route.api === 'gemini'
      ? geminiModelEdits(route, read, name)
      : inBody === undefined
        ? []
        : [inBody.edit(name)];
  const isRenamed = route.api === 'gemini' || isNamedInBody;
  const targets =
    alias === undefined ? [] : targetsFor(alias, route, isNamedInBody, isRenamed ? rename : () => []);
  const [first] = targets;
  if (first !== undefined) {
    const { edits } = first;
    const isEdited = edits.length > 0;
    return {
      ...about,
      provider: first.provider,
      providerModel: first.model,
      targets,
      budgetMs: alias?.budgetMs,
      isFirstProvider: true,
      hasUnknownPrefix: false,
      path: first.path,
      isDecoded: isEdited && decoded !== undefined,
      body: new HeldBody(
        isEdited && read !== undefined ? read.with(edits) : (body?.parts() ?? []),
        isEdited || request.isEditable === true ? readOf(request, read) : undefined,
      ),
    };
  }
  const named = readPath(route.path, candidates);
  // Gemini's bodies name none. Azure serves the deployment of the path, whatever its body says.
  const bodyModel = route.api === 'gemini' ? '' : (inBody?.model ?? '');
  const { prefixed, rest } = withoutProvider(bodyModel, candidates);
  const provider = named?.provider ?? prefixed ?? fallback;
  const hasPrefix = prefixed === provider;
  const providerModel =
    model?.startsWith(`${provider.name}/`) === true ? model.slice(provider.name.length + 1) : model;
  const isNamedInPath = route.api === 'gemini' && providerModel !== model;
  const ownEdits = hasPrefix ? rename(rest) : isNamedInPath ? rename(providerModel ?? '') : [];
  const isEdited = ownEdits.length > 0;
  const isByDefault = named?.provider === undefined && prefixed === undefined;
  return {
    ...about,
    provider,
    providerModel,
    targets: undefined,
    budgetMs: undefined,
    isFirstProvider: provider === fallback,
    hasUnknownPrefix:
      isByDefault && candidates.length > 1 && (named !== undefined || bodyModel.indexOf('/') > 0),
    path: named?.path ?? route.path,
    isDecoded: isEdited && decoded !== undefined,
    body: new HeldBody(
      read === undefined || !isEdited ? (body?.parts() ?? []) : read.with(ownEdits),
      request.isEditable === true ? readOf(request, read, ownEdits) : undefined,
    ),
  };
}

/** The provider whose name stands before a model's, and the model without it; `prefixed` is `undefined` where none does. */
export function withoutProvider(
  model: string,
  candidates: readonly Provider[],
): { readonly prefixed: Provider | undefined; readonly rest: string } {
  const slash = model.indexOf('/');
  const prefixed = candidates.find(({ name }) => slash !== -1 && name === model.slice(0, slash));
  return { prefixed, rest: prefixed === undefined ? model : model.slice(slash + 1) };
}

/** What can be read of a body as long as it is held. `ownEdits`: what it is sent with in any case; default: nothing. */
function readOf(
  { decoded }: IncomingRequest,
  read: RequestBody | undefined,
  ownEdits: readonly BodyEdit[] = [],
): ReadBody | undefined {
  if (read === undefined) return undefined;
  return { ...read, isDecoded: decoded !== undefined, with: (edits) => read.with([...ownEdits, ...edits]) };
}

/**
 * Where a request goes whose model is a name of the operator's own; empty: it has no target with this API. `editsFor`: what gives
 * its body another model.
 */
export function targetsFor(
  alias: ModelAlias,
  route: Route,
  isNamedInBody: boolean,
  editsFor: (model: string) => readonly BodyEdit[],
): RequestTarget[] {
  return alias.targets
    .filter(({ provider }) => provider.api === route.api)
    .map((target) => ({
      ...target,
      path: isNamedInBody ? route.path : withModel(route.path, target.model),
      edits: editsFor(target.model),
    }));
}

/** A path that names a model, with another one. Gemini's may have a folder of its own, such as `tunedModels/…`. */
function withModel(path: string, model: string): string {
  const name = model.split('/').map(encodeURIComponent).join('/');
  return path
    .replace(
      /^(\/v1\w*\/)(?:models\/)?.+(:\w+)$/,
      (_, start: string, action: string) => `${start}${name.includes('/') ? '' : 'models/'}${name}${action}`,
    )
    .replace(/^(\/openai\/deployments\/)[^/]+/, (_, start: string) => `${start}${encodeURIComponent(model)}`);
}

/** The body of one attempt, and whether its content coding was undone. */
export interface AttemptBody {
  readonly body: HeldBody;
  readonly isDecoded: boolean;
}

/**
 * The body of an attempt with edits. It shares the bytes of the request's own, and releasing it releases that one: what one
 * attempt has sent, no other needs. Without edits, it is the request's own.
 *
 * `undefined`: it cannot be edited. It is no JSON and no form, or in a content coding that is not known, or it was not
 * received to be edited, or it was released.
 *
 * @throws {GatewayError} `invalid_request` if it is ambiguous which member is meant.
 */
export function bodyWith(
  { body, isDecoded }: Pick<RelayRequest, 'body' | 'isDecoded'>,
  edits: readonly BodyEdit[],
): AttemptBody | undefined {
  if (edits.length === 0) return { body, isDecoded };
  const { read } = body;
  if (read === undefined) return undefined;
  const edited = new HeldBody(read.with(edits));
  edited.onRelease = () => body.release();
  return { body: edited, isDecoded: read.isDecoded };
}

/**
 * Reads the body. On a path with a format, a JSON body has to be valid. A more lenient provider could otherwise read
 * another model in it.
 */
function readBody({ body, contentType, decoded, route }: IncomingRequest): RequestBody | undefined {
  const readable = decoded ?? body;
  if (readable === null || readable.byteLength === 0) return undefined;
  const isStrict = route.format !== undefined && route.api !== 'gemini' && isJson(contentType);
  return isStrict ? readRequestBody(readable) : tryRequestBody(readable);
}

/**
 * The provider that a path names, and the path without the provider's name. Without a provider: something stands where
 * its name would.
 */
function readPath(
  path: string,
  candidates: readonly Provider[],
): { readonly provider: Provider | undefined; readonly path: string } | undefined {
  const deployment = deploymentPath.exec(path)?.groups;
  if (deployment !== undefined) {
    const provider = candidates.find((candidate) => candidate.name === deployment['name']);
    return { provider, path: provider === undefined ? path : `${deployment['start']}${deployment['rest']}` };
  }
  const { version = '', name, bareName, rest = '' } = modelPath.exec(path)?.groups ?? {};
  const provider = candidates.find((candidate) => candidate.name === (name ?? bareName));
  // Without models/, a folder of Gemini's may stand there.
  if (provider === undefined) return name === undefined ? undefined : { provider, path };
  // Gemini's names may begin with a folder of their own, such as tunedModels/….
  const folder = provider.api === 'gemini' && /^\w+\//.test(rest) ? '' : 'models/';
  return { provider, path: `${version}/${folder}${rest}` };
}

/** The tokens of a body that is JSON, by its type or by itself. Others, such as uploads, have no prompt that is known. */
function bodyTokens({ body, contentType, decoded }: IncomingRequest, read: RequestBody | undefined): number {
  const parts = (decoded ?? body)?.parts() ?? [];
  const isPrompt = read?.isJson === true || isJson(contentType) || beginsAsJson(parts);
  return isPrompt ? promptTokens(parts) : 0;
}

/** The model that a path names. */
function modelIn({ path }: Route): string | undefined {
  const named =
    /^\/v1\w*\/(?:models\/)?(.+):\w+$/.exec(path) ?? /^\/openai\/deployments\/([^/]+)\//.exec(path);
  const model = named?.[1];
  if (model === undefined) return undefined;
  try {
    return decodeURIComponent(model);
  } catch {
    return model;
  }
}

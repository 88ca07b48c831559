import type { IncomingHttpHeaders } from 'node:http';
import type { Logger } from 'pino';
import { apis } from '../../api.ts';
import { digest } from '../../config/api-key.ts';
import type { Provider } from '../../config/provider.ts';
import type { Admission } from '@spillway/server/admission/admission';
import type { Place } from '@spillway/server/admission/place';
import { asGatewayError, GatewayError, overloaded } from '@spillway/server/errors';
import { clientHeaders, providerHeaders } from '../../http/headers.ts';
import { RefusedError } from '../../http/error-shapes.ts';
import type { Route } from '../../http/route.ts';
import type { Target, Targets } from '../targets.ts';
import { type BodyHold, RequestMemory } from '@spillway/server/memory/request-memory';
import { wholeCharacters } from '../../http/whole-characters.ts';
import { plainStart } from '../../source/codings.ts';
import { collectReply } from '../../source/collect-reply.ts';
import { openReply } from '../open-reply.ts';
import { isRedirect, redirectError } from '../redirect.ts';
import { maxRefusalBytes, maxRefusalMs } from '../retry-hints.ts';
import { HeldModels } from './held-models.ts';
import { readModels, renameModels } from './read-models.ts';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { type Refresh, startRefresh, waitForEnough } from './refresh.ts';

/** A list up to this age is used without asking its provider. */
const freshMs = 2000;
/** While a provider is silent, its last list is used up to this age. */
const recentMs = 300_000;
/** How long a provider's list may take, the wait for a place included. */
const timeoutMs = 10_000;
/** The longest list of one provider, in bytes. */
const maxListBytes = 4_194_304;
/** The bound of the bytes of all lists together: those being read, kept and sent. */
const maxHeldBytes = 33_554_432;
/** The most lists that are kept. There is one for each provider and credential. */
const maxLists = 256;
/**
 * The least time between two warnings about the same provider in the program's log, however often its list
 * fails.
 */
const logEveryMs = 60_000;

export interface ModelListsOptions {
  readonly clock: ServerClock;
  readonly admission: Admission;
  readonly targets: Targets;
  readonly log: Pick<Logger, 'warn'>;
}

/**
 * The models of providers. For each provider and credential at most one request runs at a time, and all
 * callers share it. The request takes one of the places of `maxStreams`, and is aborted when its last caller
 * has left.
 */
export class ModelLists {
  readonly #clock: ServerClock;
  readonly #admission: Admission;
  readonly #targets: Targets;
  readonly #log: ModelListsOptions['log'];
  readonly #memory = new RequestMemory(maxHeldBytes);
  /** The lists by provider and credential, in the order in which they came. */
  readonly #lists = new Map<string, HeldModels>();
  readonly #refreshes = new Map<string, Refresh>();
  readonly #loggedMs = new WeakMap<Provider, number>();

  constructor({ admission, clock, log, targets }: ModelListsOptions) {
    this.#clock = clock;
    this.#admission = admission;
    this.#targets = targets;
    this.#log = log;
  }

  /**
   * The lists of all these providers. The caller has to call `release` on each. Once there is one list, a
   * silent provider is waited for 1 s longer. After that its last list is used, if it is recent. A provider
   * that fails is left out. `signal` is aborted when the caller has left. `nameOf` says by which name a model is listed, and
   * of which the caller is told nothing; `undefined`: all are, by their ids.
   *
   * @throws {GatewayError} the first provider's error, when there is no list at all.
   * @throws the signal's reason as soon as it is aborted.
   */
  async ask(
    providers: readonly Provider[],
    headers: IncomingHttpHeaders,
    signal: AbortSignal,
    nameOf: ((id: string) => string | undefined) | undefined,
  ): Promise<HeldModels[]> {
    const asked = providers.map((provider) => this.#ask(provider, headers));
    const refreshes = asked.flatMap(({ refresh }) => refresh ?? []);
    for (const refresh of refreshes) refresh.waiting += 1;
    try {
      await waitForEnough(
        this.#clock,
        refreshes,
        asked.some(({ key }) => this.#known(key) !== undefined),
        signal,
      );
    } finally {
      for (const refresh of refreshes) {
        refresh.waiting -= 1;
        // If the caller stays or others wait, the request goes on: its list is for the next caller, too.
        if (signal.aborted && refresh.waiting === 0) refresh.abort(signal.reason as Error);
      }
    }
    const lists = asked.flatMap(({ key }) => this.#known(key)?.use() ?? []);
    if (lists.length > 0) return nameOf === undefined ? lists : this.#renamed(lists, nameOf);
    throw refreshes.find(({ error }) => error !== undefined)?.error ?? silent();
  }

  /** Copies of lists, which are held as long as they are sent; the lists themselves are released. */
  #renamed(lists: readonly HeldModels[], nameOf: (id: string) => string | undefined): HeldModels[] {
    const renamed: HeldModels[] = [];
    try {
      for (const { bytes } of lists) {
        const models = renameModels(bytes, nameOf);
        const hold = this.#memory.hold('renamed');
        renamed.push(new HeldModels(models, hold, this.#clock));
        this.#grow(hold, models.length);
      }
      return renamed;
    } catch (error) {
      for (const list of renamed) list.release();
      throw error;
    } finally {
      for (const list of lists) list.release();
    }
  }

  #ask(provider: Provider, headers: IncomingHttpHeaders): { key: string; refresh: Refresh | undefined } {
    const route = { path: '/v1/models', query: '', queryKey: undefined };
    const target = this.#targets.find(provider, route, headers);
    const key = `${provider.name} ${provider.url} ${digest(JSON.stringify(target.credential)).toString('base64')}`;
    if ((this.#known(key)?.ageMs ?? Infinity) < freshMs) return { key, refresh: undefined };
    const running = this.#refreshes.get(key);
    if (running !== undefined) return { key, refresh: running };
    const refresh = startRefresh(this.#clock, (aborting) => this.#refresh(provider, key, target, aborting));
    this.#refreshes.set(key, refresh);
    return { key, refresh };
  }

  #known(key: string): HeldModels | undefined {
    const list = this.#lists.get(key);
    return list === undefined || list.ageMs > recentMs ? undefined : list;
  }

  /**
   * The body of one page of a provider's own list, as it came. The caller has to call `release` on it. Nobody shares the request, and
   * nothing is kept. `signal` is aborted when the caller has left.
   *
   * @throws {GatewayError} if the provider gives none.
   */
  async page(
    provider: Provider,
    route: Pick<Route, 'path' | 'query' | 'queryKey'>,
    headers: IncomingHttpHeaders,
    signal: AbortSignal,
  ): Promise<HeldModels> {
    const aborting = new AbortController();
    const onLeave = (): void => aborting.abort(signal.reason);
    signal.addEventListener('abort', onLeave, { once: true });
    const hold = this.#memory.hold('page');
    try {
      signal.throwIfAborted();
      const target = this.#targets.find(provider, route, headers);
      return await this.#inPlace(aborting, async () => {
        const body = await this.#fetch(provider, target, { headers, hold, signal: aborting.signal });
        return new HeldModels(body, hold, this.#clock);
      });
    } catch (thrown) {
      hold.release();
      const error = asGatewayError(thrown);
      this.#logFailure(provider, error);
      throw error;
    } finally {
      signal.removeEventListener('abort', onLeave);
    }
  }

  /** Does something in a place of `maxStreams`, within the time that a list may take. */
  async #inPlace<Result>(aborting: AbortController, work: () => Promise<Result>): Promise<Result> {
    let place: Place | undefined;
    const timer = this.#clock.after(timeoutMs, () => {
      aborting.abort(
        place?.isHeld === true ? silent() : overloaded(`There was no free place within ${timeoutMs} ms.`),
      );
    });
    timer.unref();
    try {
      place = this.#admission.enter({ signal: aborting.signal });
      await place.given;
      return await work();
    } finally {
      timer.stop();
      place?.release();
    }
  }

  async #refresh(provider: Provider, key: string, target: Target, aborting: AbortController): Promise<void> {
    const { signal } = aborting;
    const hold = this.#memory.hold(key);
    try {
      await this.#inPlace(aborting, async () => {
        const body = await this.#fetch(provider, target, { headers: {}, hold, signal });
        const models = readModels(body, `${provider.name}/`);
        if (models === undefined) throw invalid('The provider answered its model list with something else.');
        this.#keep(key, models);
      });
    } catch (thrown) {
      const error = asGatewayError(thrown);
      // A provider that answers something else may mean it, such as when a key was revoked: its old list is
      // not used any more.
      if (!error.isCancel && error.code !== 'upstream_timeout' && error.code !== 'overloaded')
        this.#forget(key);
      this.#logFailure(provider, error);
      throw error;
    } finally {
      hold.release();
      this.#refreshes.delete(key);
    }
  }

  async #fetch(
    provider: Provider,
    { credential, path, pool }: Target,
    { headers, hold, signal }: FetchOptions,
  ): Promise<Buffer> {
    const asked = { accept: 'application/json', ...pick(headers) };
    const request = { method: 'GET', path, headers: providerHeaders(asked, credential), body: null } as const;
    const reply = await openReply(pool, request, {
      clock: this.#clock,
      retries: 0,
      connectRetries: 0,
      signal,
      onRetry: () => undefined,
    });
    const { reason, status } = reply;
    if (isRedirect(reply)) {
      reply.discard();
      throw redirectError(reply, apis[provider.api].errors);
    }
    if (status !== 200) {
      const refused = invalid(`The provider answered its model list with status ${status}.`, status);
      const start = await reply.peek(maxRefusalBytes, maxRefusalMs);
      signal.throwIfAborted();
      const body = reply.isWhole ? start : undefined;
      reply.discard();
      if (status < 400) throw refused;
      // A larger error body cannot be handed on as it comes: several callers may share this request.
      const words =
        body === undefined
          ? wholeCharacters(await plainStart(start, reply.header('content-encoding'), maxRefusalBytes))
          : '';
      throw new RefusedError(refused, { reason, headers: clientHeaders(reply.headers), body, words });
    }
    const grow = (bytes: number): void => this.#grow(hold, bytes);
    return await collectReply(reply, maxListBytes, timeoutMs, grow).catch(asCut);
  }

  #keep(key: string, models: Buffer): void {
    const known = this.#lists.get(key);
    if (known?.bytes.equals(models) === true) {
      known.confirm();
      return;
    }
    const hold = this.#memory.hold(key);
    this.#grow(hold, models.length);
    this.#forget(key);
    this.#lists.set(key, new HeldModels(models, hold, this.#clock));
    if (this.#lists.size > maxLists) this.#forgetOldest();
  }

  /** @throws {GatewayError} `overloaded` if forgetting all lists does not make enough room. */
  #grow(hold: BodyHold, bytes: number): void {
    while (!hold.grow(bytes)) {
      if (!this.#forgetOldest()) throw overloaded(`Model lists hold ${maxHeldBytes} bytes.`);
    }
  }

  #forgetOldest(): boolean {
    for (const key of this.#lists.keys()) {
      this.#forget(key);
      return true;
    }
    return false;
  }

  #forget(key: string): void {
    this.#lists.get(key)?.release();
    this.#lists.delete(key);
  }

  #logFailure(provider: Provider, error: GatewayError): void {
    if (error.isCancel) return;
    const nowMs = this.#clock.nowMs();
    if (nowMs - (this.#loggedMs.get(provider) ?? -Infinity) < logEveryMs) return;
    this.#loggedMs.set(provider, nowMs);
    const defect = error.code === 'internal_error' ? { err: error.cause } : {};
    const { code, message: reason } = error;
    this.#log.warn({ provider: provider.name, code, reason, ...defect }, 'models could not be listed');
  }
}

interface FetchOptions {
  /** The client's. */
  readonly headers: IncomingHttpHeaders;
  readonly signal: AbortSignal;
  /** The room of the body. */
  readonly hold: BodyHold;
}

/** What of a client's headers says in which form it wants a list. */
function pick(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { 'anthropic-beta': beta, 'anthropic-version': version } = headers;
  return { 'anthropic-beta': beta, 'anthropic-version': version };
}

function asCut(error: unknown): never {
  if (error instanceof GatewayError) throw error;
  throw new GatewayError('upstream_cut', 'The provider closed its model list before its end.', {
    cause: error,
  });
}

/** An error after the provider has answered: a client must not try again because of it. */
function invalid(message: string, status = 200): GatewayError {
  const error = new GatewayError('upstream_invalid', message, { status: status >= 400 ? status : 502 });
  error.isFinal = true;
  return error;
}

function silent(): GatewayError {
  return new GatewayError('upstream_timeout', `The provider did not list its models within ${timeoutMs} ms.`);
}

import type { IncomingHttpHeaders } from 'node:http';
import type { Logger } from 'pino';
import { apis } from '../../api.ts';
import { digest } from '../../config/api-key.ts';
import type { Provider } from '../../config/load.ts';
import { asGatewayError, GatewayError, overloaded } from '@spillway/server/errors';
import { clientHeaders, providerHeaders } from '../../http/headers.ts';
import { RefusedError } from '../../http/error-shapes.ts';
import type { Admission } from '../../access/admission.ts';
import type { Target, Targets } from '../targets.ts';
import { type BodyHold, RequestMemory } from '@spillway/server/memory/request-memory';
import { wholeCharacters } from '../../http/whole-characters.ts';
import { plainStart } from '../../source/codings.ts';
import { collectReply } from '../../source/collect-reply.ts';
import { openReply } from '../open-reply.ts';
import { isRedirect, redirectError } from '../redirect.ts';
import { maxRefusalBytes, maxRefusalMs } from '../retry-hints.ts';
import { HeldModels } from './held-models.ts';
import { readModels } from './read-models.ts';
import { type Refresh, startRefresh, waitForEnough } from './refresh.ts';

/** A list that is not older is answered without asking its provider. */
const freshMs = 2000;
/** A provider that is silent is answered for with its last list, if that is not older. */
const recentMs = 300_000;
/** How long a provider may take, the wait for a place included. */
const timeoutMs = 10_000;
/** The longest list of one provider. */
const maxListBytes = 4_194_304;
/** What all lists together may hold: those that come, those that are kept and those that are sent. */
const maxHeldBytes = 33_554_432;
/** The lists that are kept, one for each provider and credential. */
const maxLists = 256;
/** A provider whose models cannot be listed is logged so often, whoever asks how often. */
const logEveryMs = 60_000;

export interface ModelListsOptions {
  readonly admission: Admission;
  readonly targets: Targets;
  readonly log: Pick<Logger, 'warn'>;
}

/**
 * The models of providers. Of each provider and credential there is one request under way at a time, which all who wait
 * share; it takes one of the places that streams take, and ends when nobody waits for it any more.
 */
export class ModelLists {
  readonly #admission: Admission;
  readonly #targets: Targets;
  readonly #log: ModelListsOptions['log'];
  readonly #memory = new RequestMemory(maxHeldBytes);
  /** By provider and credential, in the order in which they came. */
  readonly #lists = new Map<string, HeldModels>();
  readonly #refreshes = new Map<string, Refresh>();
  readonly #loggedMs = new Map<Provider, number>();

  constructor({ admission, log, targets }: ModelListsOptions) {
    this.#admission = admission;
    this.#targets = targets;
    this.#log = log;
  }

  /**
   * The lists of all these providers, each to be let go by the caller. As soon as there is one, a provider that stays silent
   * is waited for a second longer; then its last list counts, if it is recent. One that fails is left out. `signal` says that
   * the caller has left.
   *
   * @throws {GatewayError} when there is no list: the first provider's error.
   * @throws the signal's reason as soon as it is aborted.
   */
  async ask(
    providers: readonly Provider[],
    headers: IncomingHttpHeaders,
    signal: AbortSignal,
  ): Promise<HeldModels[]> {
    const asked = providers.map((provider) => this.#ask(provider, headers));
    const refreshes = asked.flatMap(({ refresh }) => refresh ?? []);
    for (const refresh of refreshes) refresh.waiting += 1;
    try {
      await waitForEnough(
        refreshes,
        asked.some(({ key }) => this.#known(key) !== undefined),
        signal,
      );
    } finally {
      for (const refresh of refreshes) {
        refresh.waiting -= 1;
        // Otherwise it goes on: who asks next gets what it brings.
        if (signal.aborted && refresh.waiting === 0) refresh.abort(signal.reason as Error);
      }
    }
    const lists = asked.flatMap(({ key }) => this.#known(key)?.use() ?? []);
    if (lists.length > 0) return lists;
    throw refreshes.find(({ error }) => error !== undefined)?.error ?? silent();
  }

  #ask(provider: Provider, headers: IncomingHttpHeaders): { key: string; refresh: Refresh | undefined } {
    const route = { path: '/v1/models', query: '', queryKey: undefined };
    const target = this.#targets.find(provider, route, headers);
    const key = `${provider.name} ${digest(JSON.stringify(target.credential)).toString('base64')}`;
    if ((this.#known(key)?.ageMs ?? Infinity) < freshMs) return { key, refresh: undefined };
    const running = this.#refreshes.get(key);
    if (running !== undefined) return { key, refresh: running };
    const refresh = startRefresh((aborting) => this.#refresh(provider, key, target, aborting));
    this.#refreshes.set(key, refresh);
    return { key, refresh };
  }

  #known(key: string): HeldModels | undefined {
    const list = this.#lists.get(key);
    return list === undefined || list.ageMs > recentMs ? undefined : list;
  }

  async #refresh(provider: Provider, key: string, target: Target, aborting: AbortController): Promise<void> {
    let hasPlace = false;
    const timer = setTimeout(() => {
      aborting.abort(hasPlace ? silent() : overloaded(`There was no free place within ${timeoutMs} ms.`));
    }, timeoutMs).unref();
    const admission = this.#admission;
    const hold = this.#memory.hold(key);
    try {
      await admission.enter(aborting.signal);
      hasPlace = true;
      try {
        this.#keep(key, await this.#fetch(provider, target, aborting.signal, hold));
      } finally {
        admission.leave();
      }
    } catch (thrown) {
      const error = asGatewayError(thrown);
      // Whoever answers something else may have good reasons, such as a key that was taken back.
      if (!error.isCancel && error.code !== 'upstream_timeout' && error.code !== 'overloaded')
        this.#forget(key);
      this.#logFailure(provider, error);
      throw error;
    } finally {
      clearTimeout(timer);
      hold.release();
      this.#refreshes.delete(key);
    }
  }

  async #fetch(
    provider: Provider,
    { credential, path, pool }: Target,
    signal: AbortSignal,
    hold: BodyHold,
  ): Promise<Buffer> {
    const headers = providerHeaders({ accept: 'application/json' }, credential);
    const request = { method: 'GET', path, headers, body: null } as const;
    const reply = await openReply(pool, request, {
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
      // What is larger cannot be handed on as it comes: many may wait for it.
      const words =
        body === undefined
          ? wholeCharacters(await plainStart(start, reply.header('content-encoding'), maxRefusalBytes))
          : '';
      throw new RefusedError(refused, { reason, headers: clientHeaders(reply.headers), body, words });
    }
    const grow = (bytes: number): void => this.#grow(hold, bytes);
    const body = await collectReply(reply, maxListBytes, timeoutMs, grow).catch(asCut);
    const models = readModels(body, `${provider.name}/`);
    if (models !== undefined) return models;
    throw invalid('The provider answered its model list with something else.');
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
    this.#lists.set(key, new HeldModels(models, hold));
    if (this.#lists.size > maxLists) this.#forgetOldest();
  }

  /** @throws {GatewayError} `overloaded` where not even letting all lists go makes room. */
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
    this.#lists.get(key)?.letGo();
    this.#lists.delete(key);
  }

  #logFailure(provider: Provider, error: GatewayError): void {
    if (error.isCancel) return;
    const nowMs = performance.now();
    if (nowMs - (this.#loggedMs.get(provider) ?? -Infinity) < logEveryMs) return;
    this.#loggedMs.set(provider, nowMs);
    const defect = error.code === 'internal_error' ? { err: error.cause } : {};
    const { code, message: reason } = error;
    this.#log.warn({ provider: provider.name, code, reason, ...defect }, 'models could not be listed');
  }
}

function asCut(error: unknown): never {
  if (error instanceof GatewayError) throw error;
  throw new GatewayError('upstream_cut', 'The provider closed its model list before its end.', {
    cause: error,
  });
}

/** It has answered, so nobody shall ask it again because of this. */
function invalid(message: string, status = 200): GatewayError {
  const error = new GatewayError('upstream_invalid', message, { status: status >= 400 ? status : 502 });
  error.isFinal = true;
  return error;
}

function silent(): GatewayError {
  return new GatewayError('upstream_timeout', `The provider did not list its models within ${timeoutMs} ms.`);
}

import { setTimeout as sleep } from 'node:timers/promises';
import { SpillwayError } from '@spillway/core';
import type { KeptText, RedisText, RedisTextOptions } from '@spillway/redis';
import { ConfigError } from '../config/config-error.ts';
import type { KeyStoreSettings } from '../config/read-key-store.ts';
import type { KeyStore } from './key-store.ts';
import { changedText, keysInText, maxKeyTextBytes } from './key-text.ts';

/** How long a call may take, with all that others change meanwhile. */
const callTimeoutMs = 5000;
/** How long a connection and an answer may take each: one that was lost is tried again within a call. */
const answerTimeoutMs = 2500;
/** Who was overtaken waits up to so long, by chance: of many, not all come back at once. */
const maxPauseMs = 30;

/** The store of keys is away or busy: the same call may succeed later. */
export class KeyStoreAway extends ConfigError {}

/** Whether a change was made is not known: it was sent, and no answer came. */
export class UnknownChange extends KeyStoreAway {}

/** The text of keys in a Redis. */
export function keyTextOptions({ password, url }: KeyStoreSettings): RedisTextOptions {
  return { url, password, key: 'spillway:keys', deadlineMs: answerTimeoutMs, maxBytes: maxKeyTextBytes };
}

/**
 * The keys in a Redis: a text as that of `apiKeysFile`, with a version by which a change of somebody else is noticed, and then this
 * one is made anew. Each call has a connection of its own, and ends within about five seconds.
 *
 * Both calls reject with a `ConfigError`, and have changed nothing, for keys that a gateway would refuse and for a Redis that takes no
 * such user; with a {@link KeyStoreAway} for one that is away, busy or full; `update` with an {@link UnknownChange} if it is not known
 * whether something was changed.
 */
export function openRedisKeyStore(settings: KeyStoreSettings): KeyStore {
  return {
    list: () =>
      withText(settings, async (text, signal) => {
        const kept = await text.read(signal);
        return keysInText(text.address, textOf(text, kept));
      }),
    update: (change) =>
      withText(settings, async (text, signal) => {
        for (;;) {
          const kept = await text.read(signal);
          const next = changedText(text.address, textOf(text, kept), change);
          if (next === undefined || (await text.replace(next, kept?.version ?? '', signal))) return;
          await sleep(Math.random() * maxPauseMs, undefined, { signal });
        }
      }),
  };
}

/**
 * The text of keys; empty: there are none yet.
 *
 * @throws {ConfigError} for bytes that are no text: written back, they would be others.
 */
export function textOf({ address }: Pick<RedisText, 'address'>, kept: KeptText | undefined): string {
  if (kept === undefined) return '';
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(kept.text);
  } catch {
    throw new ConfigError(`${address}: expected keys as text in UTF-8, got other bytes`);
  }
}

async function withText<Value>(
  settings: KeyStoreSettings,
  work: (text: RedisText, signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  // Its client is loaded only where it is needed.
  const { openRedisText } = await import('@spillway/redis');
  const signal = AbortSignal.timeout(callTimeoutMs);
  let text: RedisText | undefined;
  try {
    text = openRedisText(keyTextOptions(settings));
    return await work(text, signal);
  } catch (error) {
    if (error instanceof SpillwayError && error.code === 'text_unknown')
      throw new UnknownChange(error.message, { cause: error });
    if (error instanceof SpillwayError && error.code === 'text_failed' && mayPass(error))
      throw new KeyStoreAway(
        `store of keys: ${error.message} Nothing was changed: do it again when it answers`,
        { cause: error },
      );
    if (error instanceof SpillwayError && error.code !== 'config_invalid')
      throw new ConfigError(`store of keys: ${error.message}`, { cause: error });
    if (signal.aborted)
      throw new KeyStoreAway(
        `${text?.address}: expected an answer and no change of others within ${callTimeoutMs / 1000} s, got no such moment; nothing was changed: do it again`,
        { cause: error },
      );
    throw error;
  } finally {
    text?.close();
  }
}

/** Whether a failure is the server's or the network's of this moment: one that takes no such user, or has too large a text, stays so. */
function mayPass({ cause }: SpillwayError): boolean {
  return cause !== undefined && !(Object(cause) as { readonly isDenied?: unknown }).isDenied;
}

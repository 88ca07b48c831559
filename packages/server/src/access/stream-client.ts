import type { Asker } from './asker.ts';

/** Who opened a stream, as far as an operator may know: nothing that is secret. */
export interface StreamClient {
  /** IP address. */
  readonly address: string;
  /** The first product of its User-Agent, as `openai-node/7.55.0`; at most 64 characters. */
  readonly agent: string;
  /** The name of its key; without names, the first 8 digits of the key's SHA-256; empty without a key. */
  readonly caller: string;
  /** Who the caller belongs to; empty where the gateway has no keys. */
  readonly tenant: string;
}

export function streamClient({ address = '', agent = '', caller, headers }: Asker): StreamClient {
  return {
    address,
    agent: /^[^\s(]{1,64}/.exec(headers['user-agent'] ?? agent)?.[0] ?? '',
    caller: caller.name,
    tenant: caller.tenant,
  };
}

import type { Asker } from './asker.ts';

/** The client that opened a stream, as an operator may see it. Nothing in it is secret. */
export interface StreamClient {
  /** IP address. */
  readonly address: string;
  /** The first product of the User-Agent header, such as `openai-node/7.55.0`; at most 64 characters. */
  readonly agent: string;
  /** The caller's name: the key's name; without names, the first 8 digits of the key's SHA-256; empty without a key. */
  readonly caller: string;
  /** The tenant that the caller belongs to; empty if the gateway has no keys. */
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

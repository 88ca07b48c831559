import { digest } from './api-keys.ts';
import { keysOf } from './credential.ts';
import type { Asker } from './asker.ts';

/** Who opened a stream, as far as an operator may know: nothing that is secret. */
export interface StreamClient {
  /** IP address. */
  readonly address: string;
  /** The first product of its User-Agent, as `openai-node/7.55.0`; at most 64 characters. */
  readonly agent: string;
  /** The first 8 digits of its key's SHA-256; empty without a key. */
  readonly key: string;
}

export function streamClient(
  { address = '', agent = '', headers }: Asker,
  queryKey: string | undefined,
): StreamClient {
  const [key] = keysOf(headers, queryKey);
  return {
    address,
    agent: /^[^\s(]{1,64}/.exec(headers['user-agent'] ?? agent)?.[0] ?? '',
    key: key === undefined ? '' : digest(key).toString('hex').slice(0, 8),
  };
}

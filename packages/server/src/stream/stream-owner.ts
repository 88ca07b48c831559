import type { Format } from '@spillway/core/format/format';
import type { Asker } from '../access/asker.ts';
import type { StreamClient } from '../access/stream-client.ts';
import type { DetachPolicy } from './detach-policy.ts';

/** Where a stream comes from, as metrics, logs and the console name it. */
export interface StreamOrigin {
  readonly name: string;
  /** The names of those that may answer in its place: what is wanted of one of them has to be kept from the beginning. Default: none. */
  readonly others?: readonly string[] | undefined;
  /** The API of the provider, such as `openai`. */
  readonly api: string;
  /** How long comments alone keep the stream alive, if longer than `idleTimeoutMs`; `undefined`: they do not. */
  readonly queueTimeoutMs?: number | undefined;
  /**
   * Whether the program asked itself, such as a canary: nobody's figures count the stream, and the console's list of
   * ended streams does not have it. Default: false.
   */
  readonly isOwn?: boolean | undefined;
}

/** Who owns a stream, where the stream comes from, and what becomes of it when nobody reads it. */
export interface StreamOwner {
  readonly origin: StreamOrigin;
  /** The format in which all readers get errors: the request's. */
  readonly errors: Format;
  /** The owner whose large events share one bound. Empty: the client's address is used. */
  readonly owner: string;
  /** Whether a request may read the stream, judged by its caller, headers and query key. */
  readonly mayRead: (asker: Pick<Asker, 'caller' | 'headers' | 'queryKey'>) => boolean;
  /** The holder whose memory the stream's history takes after its end; see `holderOf`. */
  readonly holder: string;
  readonly detach: DetachPolicy;
  /** The model as the client named it, for the console. */
  readonly model: string | undefined;
  readonly client: StreamClient;
  /** The parts of the request's body, while the provider may still need them; empty afterwards. Default: none. */
  readonly requestBody?: (() => readonly Uint8Array[]) | undefined;
  /** The id of the request that opened the stream; `undefined`: it has none. */
  readonly requestId?: string | undefined;
}

import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Caller } from '../access/caller.ts';
import type { Guard } from '../access/guard.ts';
import type { Provider } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { RequestMemory } from '../memory/request-memory.ts';
import type { RetainedStreams } from '../memory/retained-streams.ts';
import type { Defects } from '../process/defects.ts';
import type { Relay } from '../relay/relay.ts';
import type { Paces } from '../sink/paces.ts';
import type { Meter } from '../stream/meter.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { Arrivals } from './arrivals.ts';
import type { SessionStream } from './session-stream.ts';

/** What sessions need of the gateway. */
export interface SessionContext {
  readonly config: Config;
  readonly defects: Defects;
  readonly guard: Guard;
  readonly memory: RequestMemory;
  /** The same for what clients send that have shown no accepted key yet, all of them together. */
  readonly strangers: RequestMemory;
  readonly paces: Paces;
  readonly providers: readonly Provider[];
  readonly relay: Relay;
  readonly retained: Pick<RetainedStreams<GatewayStream>, 'keepReader'>;
  readonly meter: Meter;
  /** The stream of that token, if a caller who sends these headers may read it. */
  readonly find: (token: string, caller: Caller, headers: IncomingHttpHeaders) => GatewayStream | undefined;
  /** Whether new streams are taken. */
  readonly isReady: () => boolean;
  /** Which requests did not arrive. */
  readonly arrivals: Arrivals;
  /** The readers that can be resumed, by the names that clients gave them. */
  readonly readers: Map<string, SessionStream>;
  /** Called once, when a session has shown an accepted key or needs none. */
  readonly onKnown: (socket: Socket) => void;
}

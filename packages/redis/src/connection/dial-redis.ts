import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { createClient, ErrorReply, RESP_TYPES } from '@redis/client';
import type { EngineHost } from '@spillway/core/engine';
import type { RedisAddress } from './redis-address.ts';

/** A word of a command: text, or bytes as they are. */
export type RedisWord = Buffer | string;

/** How an answer is read. */
type ReplyOptions = Parameters<ReturnType<typeof createClient>['sendCommand']>[1];

/** What is used of a client of node-redis. */
export interface RedisClient {
  sendCommand(words: readonly RedisWord[], options?: ReplyOptions): Promise<unknown>;
  destroy(): void;
}

export interface DialOptions {
  readonly address: RedisAddress;
  readonly tls: ConnectionOptions | undefined;
  /** How long each step may take: a connection with its handshake, an answer. */
  readonly timeoutMs: number;
  /** Called when the connection is lost after `dialRedis` has resolved. */
  readonly onLost: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** Connects, once: to the server, or to whatever sentinels say is the master now. Rejects if that cannot be. */
export async function dialRedis(options: DialOptions): Promise<RedisClient> {
  const { address } = options;
  if (address.master === undefined) return connectTo(address.nodes[0], options);
  const client = await connectTo(await findMaster(address.master, options), options);
  try {
    // A master that has just come back is one for itself, until sentinels tell it otherwise: it has to be theirs, and know it.
    const role = await within(client.sendCommand(['ROLE']), options);
    if (!Array.isArray(role) || role[0] !== 'master')
      throw new Error('the server that its sentinels name is no master');
    return client;
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** Something took longer than it may. */
export class NotInTime extends Error {}

/** Resolves or rejects as the promise does, and rejects after the time, or with the signal's reason. */
export async function within<Value>(
  promise: Promise<Value>,
  { signal, timeoutMs }: Pick<DialOptions, 'signal' | 'timeoutMs'>,
  what = 'connection',
): Promise<Value> {
  const { promise: ended, reject: end } = Promise.withResolvers<never>();
  const timer = setTimeout(() => end(new NotInTime(`no ${what} within ${timeoutMs} ms`)), timeoutMs);
  const onAbort = (): void => end(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    if (signal.aborted) onAbort();
    return await Promise.race([promise, ended]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** Asks the sentinels, one after the other. */
async function findMaster(master: string, options: DialOptions): Promise<EngineHost> {
  let problem: unknown = new Error(`no sentinel knows a master ${master}`);
  for (const node of options.address.nodes) {
    try {
      const found = await askSentinel(node, master, options);
      if (found !== undefined) return found;
    } catch (error) {
      problem = error;
    }
  }
  throw problem;
}

/** Asks one sentinel, and again with the password of the server where it wants one: most have the same. */
async function askSentinel(
  node: EngineHost,
  master: string,
  options: DialOptions,
): Promise<EngineHost | undefined> {
  const { address } = options;
  // Sentinels have no databases.
  const asWho = (login: Pick<RedisAddress, 'password' | 'username'>): DialOptions => ({
    ...options,
    address: { ...address, ...login, database: 0 },
    onLost: () => undefined,
  });
  try {
    return await masterAt(node, master, asWho({ username: undefined, password: undefined }));
  } catch (error) {
    if (!(error instanceof ErrorReply && error.message.startsWith('NOAUTH'))) throw error;
    if (address.password === undefined) throw new ErrorReply(`${error.message} ${wantsPassword}`);
  }
  try {
    return await masterAt(node, master, asWho(address));
  } catch (error) {
    if (!(error instanceof ErrorReply)) throw error;
    throw new ErrorReply(`${error.message} ${wantsPassword}`);
  }
}

const wantsPassword = '(the sentinel wants a password; it is given that of the server)';

async function masterAt(
  node: EngineHost,
  master: string,
  options: DialOptions,
): Promise<EngineHost | undefined> {
  const sentinel = await connectTo(node, options);
  try {
    const asked = sentinel.sendCommand(['SENTINEL', 'get-master-addr-by-name', master]);
    const found = await within(asked, options);
    return Array.isArray(found) ? { host: String(found[0]), port: Number(found[1]) } : undefined;
  } finally {
    sentinel.destroy();
  }
}

async function connectTo(node: EngineHost, options: DialOptions): Promise<RedisClient> {
  const { address, onLost, signal, timeoutMs, tls } = options;
  signal.throwIfAborted();
  const socket = { ...node, connectTimeout: timeoutMs, reconnectStrategy: false } as const;
  const client = createClient({
    socket: address.isTls ? { ...nameOf(node), ...tls, ...socket, tls: true } : socket,
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
    database: address.database,
    // Without HELLO and CLIENT, older servers and proxies understand it too.
    RESP: 2,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    // Nothing is kept for a connection that may come.
    disableOfflineQueue: true,
    // Integers as digits: read as a number, those of the last 57 below 2^53 come out wrong.
    commandOptions: { typeMapping: { [RESP_TYPES.NUMBER]: String } },
  });
  let isConnected = false;
  let isGivenUp = false;
  client.on('error', (error: unknown) => {
    if (isConnected) onLost(error);
  });
  // A socket that is not connected yet does not notice that its client is destroyed, and would stay.
  client.on('connect', () => {
    if (isGivenUp) client.destroy();
  });
  try {
    await within(client.connect(), { signal, timeoutMs });
  } catch (error) {
    isGivenUp = true;
    client.destroy();
    throw error;
  }
  isConnected = true;
  return client;
}

/** The name that a server is told by TLS: never an address, which Node refuses. The certificate has to be of it either way. */
function nameOf({ host }: EngineHost): Pick<ConnectionOptions, 'servername'> {
  return isIP(host) === 0 ? { servername: host } : {};
}

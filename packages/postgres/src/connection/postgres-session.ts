import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { Client, Connection } from 'pg';
import type { EngineHost } from '@spillway/core/engine';
import { orAborted } from '@spillway/core/or-aborted';
import type { PostgresAddress } from './postgres-address.ts';
import type { TlsChoice } from './tls-choices.ts';

/** What a session is opened to. */
export interface SessionTarget {
  readonly host: EngineHost;
  readonly address: PostgresAddress;
  readonly tls: TlsChoice;
}

/** How long a cancel, and a goodbye, may take. */
const partingMs = 1000;

/** What the client has beside what its types say. */
interface ClientParts {
  readonly processID: number | null;
  readonly secretKey: number | null;
}
interface CancelConnection extends EventEmitter {
  readonly stream: Duplex;
  connect(portOrPath: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processId: number, secretKey: number): void;
}

type Row = Readonly<Record<string, unknown>>;

/** One connection to one server, for one statement at a time. It is lost once, and never made anew. */
export class PostgresSession {
  readonly #client: Client;
  readonly #target: SessionTarget;
  #isLost = false;

  private constructor(client: Client, target: SessionTarget) {
    this.#client = client;
    this.#target = target;
    client.on('end', () => {
      this.#isLost = true;
    });
  }

  /** Connects and logs in. Rejects with what PostgreSQL or the system says, or with the signal's reason. */
  static async open(target: SessionTarget, signal: AbortSignal): Promise<PostgresSession> {
    signal.throwIfAborted();
    const { address, host, tls } = target;
    const { database, parameters, password, user } = address;
    const client = new Client({
      host: host.host,
      port: host.port,
      user,
      password,
      database,
      // A folder of a socket has no TLS.
      ssl: host.host.startsWith('/') ? false : tls,
      application_name: parameters.get('application_name'),
      fallback_application_name: 'spillway',
      keepAlive: true,
    });
    // A statement that is under way rejects with it, too.
    client.on('error', () => undefined);
    const session = new PostgresSession(client, target);
    try {
      await orAborted(client.connect(), signal);
      return session;
    } catch (error) {
      session.#destroy();
      throw error;
    }
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /**
   * Runs a statement, which is a transaction of its own. Rejects with what PostgreSQL says; and with the signal's reason as
   * soon as it is aborted: then the session has to be abandoned.
   */
  async run(text: string, values: readonly unknown[], signal: AbortSignal): Promise<readonly Row[]> {
    signal.throwIfAborted();
    const { rows } = await orAborted(
      this.#client.query<Record<string, unknown>>({ text, values: [...values] }),
      signal,
    );
    return rows;
  }

  /**
   * Ends the connection at once, and asks the server to end the statement that it may be at: one that waits for a lock does
   * not notice that nobody waits for it, and would keep its place among the server's connections. Never rejects.
   */
  async abandon(): Promise<void> {
    const { processID, secretKey } = this.#client as unknown as ClientParts;
    const wasLost = this.#isLost;
    this.#destroy();
    if (wasLost || processID === null || secretKey === null) return;
    const { host, port } = this.#target.host;
    const connection = new Connection({ ssl: this.#client.ssl }) as unknown as CancelConnection;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, partingMs);
    const send = (): void => connection.cancel(processID, secretKey);
    connection.on('connect', () => {
      if (this.#client.ssl) connection.requestSsl();
      else send();
    });
    connection.on('sslconnect', send);
    // The server closes it when the request is passed on.
    connection.on('end', resolve);
    connection.on('error', resolve);
    if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`);
    else connection.connect(port, host);
    await promise;
    clearTimeout(timer);
    connection.stream.destroy();
  }

  /** Says goodbye, and ends the connection. Never rejects. */
  async close(): Promise<void> {
    if (this.#isLost) return;
    await orAborted(this.#client.end(), AbortSignal.timeout(partingMs)).catch(() => undefined);
    this.#destroy();
  }

  #destroy(): void {
    this.#isLost = true;
    this.#client.connection.stream.destroy();
  }
}

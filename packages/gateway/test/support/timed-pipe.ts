import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** How many bytes of one direction had passed at a moment, of the machine's monotonic clock. */
export interface Passed {
  readonly bytes: number;
  readonly atMs: number;
}

/** What has passed of one connection. */
export interface PassedBytes {
  /** The port of the connection's end that is nearer to the caller: the same at both ends of a link. */
  readonly port: number;
  /** From the caller, and to it. */
  readonly up: readonly Passed[];
  readonly down: readonly Passed[];
}

/** A pipe between connections, which writes down when bytes pass. */
export interface TimedPipe {
  readonly port: number;
  readonly passed: readonly PassedBytes[];
  close(): Promise<void>;
}

/** Milliseconds of a clock that all processes of this machine share. */
export function sharedNowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/**
 * Joins connections to `listenHost` with others to `host` and `port`. With one at each end of a link, what the link does to each
 * byte is known. `isBefore`: whether the link is behind it, as seen by the caller.
 */
export async function openTimedPipe(options: {
  readonly listenHost: string;
  readonly host: string;
  readonly port: number;
  readonly isBefore: boolean;
}): Promise<TimedPipe> {
  const { host, isBefore, listenHost, port } = options;
  const passed: PassedBytes[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (caller) => {
    const onward = connect({ host, port, noDelay: true });
    for (const [one, other] of [
      [caller, onward],
      [onward, caller],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    onward.once('connect', () => {
      passed.push({
        port: (isBefore ? onward.localPort : caller.remotePort) ?? 0,
        up: join(caller, onward),
        down: join(onward, caller),
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, listenHost, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    passed,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function join(from: Socket, to: Socket): readonly Passed[] {
  const passed: Passed[] = [];
  let bytes = 0;
  from.on('data', (chunk: Buffer) => {
    bytes += chunk.byteLength;
    passed.push({ bytes, atMs: sharedNowMs() });
  });
  from.pipe(to);
  return passed;
}

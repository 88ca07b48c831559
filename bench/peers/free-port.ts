import { type AddressInfo, createServer } from 'node:net';

/** A port that nobody listens on, for programs that cannot choose one and say which. */
export async function freePort(host: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

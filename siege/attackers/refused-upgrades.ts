import type { Assault } from '../assault.ts';
import { upgrade } from '../web-socket.ts';

/** Asks for WebSockets that have to be refused, some with bytes behind the request, and neither reads nor closes. */
export function refusedUpgrades(assault: Assault): void {
  const { host } = assault;
  const requests = [
    upgrade(host, { origin: 'https://evil.example' }),
    upgrade(host, { path: '/elsewhere' }),
    upgrade(host, { 'sec-websocket-protocol': 'other' }),
    upgrade(host, { 'sec-websocket-version': '99' }),
    upgrade(host, { 'sec-websocket-key': 'short' }),
  ];
  let count = 0;
  assault.keep(1000, 100, () => {
    count += 1;
    // More than a socket reads ahead: who does not read on does not see the other side leave.
    const behind = 'x'.repeat([0, 1000, 20_000][count % 3] ?? 0);
    return assault.connect(`${requests[count % requests.length] ?? ''}${behind}`);
  });
}

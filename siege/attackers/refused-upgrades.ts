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
  assault.keep(600, 40, () => {
    count += 1;
    const behind = count % 2 === 0 ? 'x'.repeat(1000) : '';
    return assault.connect(`${requests[count % requests.length] ?? ''}${behind}`);
  });
}

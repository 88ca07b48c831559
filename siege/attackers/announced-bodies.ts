import { type Assault, request } from '../assault.ts';

/** Announces bodies of 32 MiB, or of a length that is not said, and sends nothing or next to nothing of them, some a byte at a time. */
export function announcedBodies(assault: Assault): void {
  const { host, target } = assault;
  const path = '/v1/chat/completions';
  const authorization = `Bearer ${target.key}`;
  const headers = { host, 'content-type': 'application/json' };
  const requests = [
    request('POST', path, { ...headers, authorization, 'content-length': '33554432' }),
    request('POST', path, { ...headers, authorization, 'transfer-encoding': 'chunked' }),
    request('POST', path, { ...headers, authorization, 'transfer-encoding': 'chunked' }, '1\r\n{\r\n'),
    request('POST', path, { ...headers, 'content-length': '33554432' }),
  ];
  let count = 0;
  assault.keep(48, 24, () => {
    count += 1;
    const kind = count % requests.length;
    const socket = assault.connect(requests[kind] ?? '');
    if (count % 3 === 0) {
      // Always something, and never enough of it.
      const byte = kind === 0 || kind === 3 ? ' ' : '1\r\n \r\n';
      const timer = setInterval(() => socket.writable && socket.write(byte), 500);
      socket.once('close', () => clearInterval(timer));
    }
    return socket;
  });
}

import type { Request } from './exchange.ts';

/** The request line and the headers of a request in HTTP/1.1. */
export function requestHead({ headers, method, path }: Request, host: string): string {
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  return `${head}\r\n`;
}

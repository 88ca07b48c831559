import { ClientError } from './errors.ts';

/** Where the gateway is, and what its addresses look like. */
export interface Address {
  /** Of the WebSocket. */
  readonly sessionUrl: string;
  /** The path and query on the gateway of what an application calls by a URL, whosever origin it has. */
  pathOf(url: string): string;
  /** The URL of a path. */
  urlOf(path: string): string;
}

/** @throws {ClientError} `invalid_option` */
export function parseAddress(url: string): Address {
  const base = URL.parse(url, typeof location === 'undefined' ? undefined : location.href);
  if (base === null || !/^https?:$/.test(base.protocol)) {
    const message = `url: expected the gateway's http or https address, outside of a page with its host, got ${url}.`;
    throw new ClientError('invalid_option', message);
  }
  // A gateway may be below a path of its host.
  const prefix = base.pathname.replace(/\/+$/, '');
  const root = base.origin + prefix;
  return {
    sessionUrl: `${root.replace(/^http/, 'ws')}/streams`,
    pathOf: (target) => {
      const { origin, pathname, search } = new URL(target, `${root}/`);
      const isBelow = origin === base.origin && pathname.startsWith(`${prefix}/`);
      return (isBelow ? pathname.slice(prefix.length) : pathname) + search;
    },
    urlOf: (path) => root + path,
  };
}

import { ClientError } from './errors.ts';

/** The gateway's address, and the addresses below it. */
export interface Address {
  /** The URL of the WebSocket. */
  readonly sessionUrl: string;
  /** The path and query on the gateway for a URL that an application calls, whatever the origin of that URL. */
  pathOf(url: string): string;
  /** The gateway's URL of a path. */
  urlOf(path: string): string;
}

/** @throws {ClientError} `invalid_option` */
export function parseAddress(url: string): Address {
  const base = URL.parse(url, typeof location === 'undefined' ? undefined : location.href);
  if (base === null || !/^https?:$/.test(base.protocol)) {
    const message = `url: expected the gateway's http or https address, outside of a page with its host, got ${url}.`;
    throw new ClientError('invalid_option', message);
  }
  // The gateway may be below a path of its host.
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

import { BlockList, isIP } from 'node:net';
import { isNetwork } from '../http/trusted-proxies.ts';

/**
 * Whether a list in the syntax of `NO_PROXY` contains the host of a URL. Its entries are names, which include
 * their sub-domains, with or without a dot before; `*.name`, for sub-domains alone; addresses and networks,
 * as `10.0.0.0/8`; each with or without a port; or `*`.
 */
export function isExempt({ hostname, port, protocol }: URL, noProxy: string): boolean {
  const host = bareHost(hostname);
  const toPort = port === '' ? (protocol === 'https:' ? '443' : '80') : port;
  return noProxy.split(/[\s,]+/).some((entry) => {
    if (isNetwork(entry)) return isInNetwork(host, entry);
    const [, bracketed, plain, ofPort] = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
    if (ofPort !== undefined && ofPort !== toPort) return false;
    if (plain === undefined) return bracketed !== undefined && isInNetwork(host, bracketed);
    if (plain === '*') return true;
    const name = bareHost(plain.replace(/^\*?\./, ''));
    return name !== '' && ((host === name && !plain.startsWith('*')) || host.endsWith(`.${name}`));
  });
}

/**
 * A host as it is compared: in lower case, without the brackets of an IPv6 address and without a dot at the
 * end.
 */
function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.+)\]$/, '$1')
    .replace(/\.$/, '');
}

/** Whether a host is in a network, or equals a single address. */
function isInNetwork(host: string, network: string): boolean {
  const version = isIP(host);
  const [base = '', bits = version === 4 ? '32' : '128'] = network.split('/');
  if (version === 0 || isIP(base) !== version) return false;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(base, Number(bits), family);
  return list.check(host, family);
}

import { BlockList, isIP } from 'node:net';
import { isNetwork } from '../http/trusted-proxies.ts';

/**
 * Whether a list as `NO_PROXY` has it names where a URL leads: names, which are their sub-domains too, with a dot in front or
 * not; `*.name`, which is its sub-domains alone; addresses and networks, as `10.0.0.0/8`; each with a port or not; or `*`.
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

/** As names are compared: without the brackets of an IPv6 address and the dot at the end. */
function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.+)\]$/, '$1')
    .replace(/\.$/, '');
}

/** An address is a network, too. */
function isInNetwork(host: string, network: string): boolean {
  const version = isIP(host);
  const [base = '', bits = version === 4 ? '32' : '128'] = network.split('/');
  if (version === 0 || isIP(base) !== version) return false;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(base, Number(bits), family);
  return list.check(host, family);
}

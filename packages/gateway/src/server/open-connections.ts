import type { Refusal } from '@spillway/server/access/refusal';
import type { Defects } from '@spillway/server/defects';
import type { ApiKeys } from '../access/api-keys.ts';
import type { Config } from '../config/schema.ts';
import { Connections } from '../http/connections.ts';
import { TrustedProxies } from '../http/trusted-proxies.ts';
import type { ConnectionBounds } from '../memory/descriptors.ts';
import type { openCertificate } from './open-certificate.ts';

/** What differs between the two listeners. */
interface ListenerParts {
  readonly keys: Pick<ApiKeys, 'areRequired'>;
  readonly certificate: ReturnType<typeof openCertificate>;
  readonly onRefused: (refusal: Refusal) => void;
}

/** Opens the connections of both listeners: bounded in number, and each known by its client's address. */
export function openConnections(
  config: Config,
  bounds: ConnectionBounds,
  defects: Defects,
  { admin, client }: Readonly<Record<'admin' | 'client', ListenerParts>>,
): Record<'admin' | 'client', Connections> {
  const shared = {
    maxConnectionsPerAddress: config.maxConnectionsPerAddress,
    defects,
    proxies: new TrustedProxies(config.trustedProxies),
    answerTimeoutMs: 2 * config.stallTimeoutMs,
  };
  const open = (
    { certificate, keys, onRefused }: ListenerParts,
    maxConnections: number,
    hasProxyHeaders: boolean,
  ): Connections =>
    new Connections({
      ...shared,
      maxConnections,
      areKeysRequired: keys.areRequired,
      hasProxyHeaders,
      onRefused,
      secureContext: certificate && (() => certificate.context),
    });
  return {
    client: open(client, bounds.maxConnections, config.proxyProtocol),
    // A scraper of metrics may run on the proxy's machine, and sends no PROXY header.
    admin: open(admin, bounds.maxAdminConnections, false),
  };
}

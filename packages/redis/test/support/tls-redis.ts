import { freePort } from '../../../core/test/support/free-port.ts';
import { type Certificates, makeCertificates } from '../../../gateway/test/support/certificates.ts';
import { RedisServer } from './redis-server.ts';

/** A Redis that has TLS, with certificates of an authority of its own, and a user who needs a password. */
export interface TlsRedis {
  /** Without the password. */
  readonly url: string;
  readonly port: number;
  readonly certificates: Certificates;
  remove(): Promise<void>;
}

/** Starts one. */
export async function startTlsRedis(user: string, password: string): Promise<TlsRedis> {
  const certificates = makeCertificates();
  const { authority, server } = certificates;
  const port = await freePort();
  const files = ['--tls-cert-file', server.certFile, '--tls-key-file', server.keyFile];
  const authorities = ['--tls-auth-clients', 'no', '--tls-ca-cert-file', authority.certFile];
  const users = ['--user', user, 'on', `>${password}`, '~*', '&*', '+@all', '--user', 'default', 'off'];
  const options = ['--tls-port', String(port), ...files, ...authorities, ...users];
  const redis = await RedisServer.start(options).catch((error: unknown) => {
    certificates.remove();
    throw error;
  });
  return {
    url: `rediss://${user}@127.0.0.1:${port}`,
    port,
    certificates,
    async remove() {
      await redis.remove();
      certificates.remove();
    },
  };
}

import type { Logger } from 'pino';
import { ConfigError } from '../config/config-error.ts';
import type { Config } from '../config/schema.ts';
import type { Defects } from '@spillway/server/defects';
import { Certificate } from '../http/certificate.ts';

/**
 * The certificate of a listener; `undefined`: it has none, and speaks plain HTTP.
 *
 * @throws {ConfigError} for files that are no certificate and its key.
 */
export function openCertificate(
  of: 'adminTls' | 'tls',
  config: Config,
  log: Logger,
  defects: Defects,
): Certificate | undefined {
  const [certFile, keyFile] = [config[`${of}CertFile`], config[`${of}KeyFile`]];
  if (certFile === undefined || keyFile === undefined) return undefined;
  const files = { certFile, keyFile };
  const listener = {
    replaced: (validUntilMs: number) =>
      log.info(
        { certFile, validUntil: new Date(validUntilMs).toISOString() },
        'new connections have another certificate',
      ),
    failed: (reason: string) =>
      log.error(
        { certFile, reason },
        'a certificate has changed and cannot be used: the one from before stays',
      ),
  };
  try {
    return new Certificate(files, listener, defects);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError(
      `${of}CertFile, ${of}KeyFile: expected a certificate and its key in PEM, got ${code ?? message}`,
      { cause: error },
    );
  }
}

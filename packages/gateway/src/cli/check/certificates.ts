import { Defects } from '@spillway/server/defects';
import type { Settings } from '../../config/load.ts';
import { Certificate } from '../../http/certificate.ts';
import type { Finding } from './finding.ts';

/** As the alert of ops/alerts.yaml. */
const soonDays = 14;
const dayMs = 86_400_000;

/** Whether the certificates of the listeners can be used, and for how long. */
export function checkCertificates({ config }: Settings, nowMs = Date.now()): Finding[] {
  const { adminTlsCertFile, adminTlsKeyFile, tlsCertFile, tlsKeyFile } = config;
  return [
    ...checkCertificate('certificate', 'tls', tlsCertFile, tlsKeyFile, nowMs),
    ...checkCertificate('admin certificate', 'adminTls', adminTlsCertFile, adminTlsKeyFile, nowMs),
  ];
}

function checkCertificate(
  check: string,
  of: 'adminTls' | 'tls',
  certFile: string | undefined,
  keyFile: string | undefined,
  nowMs: number,
): Finding[] {
  if (certFile === undefined || keyFile === undefined) return [];
  const nothing = (): void => undefined;
  try {
    const listener = { replaced: nothing, failed: nothing };
    const certificate = new Certificate({ certFile, keyFile }, listener, new Defects({ error: nothing }));
    certificate.close();
    const days = Math.floor((certificate.validUntilMs - nowMs) / dayMs);
    if (days < 0) return [{ check, status: 'fail', message: 'It has ended: renew it.' }];
    const message = `It ends ${days === 0 ? 'within a day' : days === 1 ? 'in 1 day' : `in ${days} days`}`;
    return days < soonDays
      ? [{ check, status: 'warn', message: `${message}: renew it.` }]
      : [{ check, status: 'ok', message: `${message}.` }];
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const expected = 'expected a certificate and its private key in PEM';
    return [
      { check, status: 'fail', message: `${of}CertFile, ${of}KeyFile: ${expected}, got ${code ?? message}.` },
    ];
  }
}

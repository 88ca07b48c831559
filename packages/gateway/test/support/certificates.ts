import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate and its key, as files and as text. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** Certificates of two authorities that do not know each other. */
export interface Certificates {
  readonly authority: Certificate;
  /** Of `localhost` and 127.0.0.1, by the authority. */
  readonly server: Certificate;
  /** Of a client, by the authority. */
  readonly client: Certificate;
  /** Of a client, by the other authority. */
  readonly stranger: Certificate;
  readonly remove: () => void;
}

/** Makes them, for two days. */
export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-certificates-'));
  const make = (name: string, by: Certificate | undefined, extension: string): Certificate => {
    const [certFile, keyFile] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
    const signed = by === undefined ? [] : ['-CA', by.certFile, '-CAkey', by.keyFile];
    const subject = ['-subj', `/CN=${name}`, '-days', '2', '-addext', extension];
    execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, ...signed, ...subject], {
      stdio: 'pipe',
    });
    return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  };
  const isAuthority = 'basicConstraints=critical,CA:TRUE';
  const isClient = 'extendedKeyUsage=clientAuth';
  const authority = make('authority', undefined, isAuthority);
  return {
    authority,
    server: make('localhost', authority, 'subjectAltName=DNS:localhost,IP:127.0.0.1'),
    client: make('client', authority, isClient),
    stranger: make('stranger', make('other', undefined, isAuthority), isClient),
    remove: () => rmSync(folder, { recursive: true }),
  };
}

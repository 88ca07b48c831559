import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';

/** A certificate of 127.0.0.1 that has signed itself, until the test ends. Skips the test where there is no openssl. */
export function makeCertificates(context: Pick<TestContext, 'skip'>): {
  readonly cert: string;
  readonly key: string;
  readonly caFile: string;
} {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-certificates-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [caFile, keyFile] = [join(folder, 'ca.pem'), join(folder, 'key.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const made = spawnSync('openssl', ['req', '-x509', ...kind, '-keyout', keyFile, '-out', caFile, ...names]);
  needs(context, made.status === 0, 'openssl');
  return { cert: readFileSync(caFile, 'utf8'), key: readFileSync(keyFile, 'utf8'), caFile };
}

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Defects } from '@spillway/server/defects';

/** How often the files are read, to see whether they have changed. Whoever renews certificates writes files. */
const lookEveryMs = 10_000;

/** Where a certificate and its key are kept, in PEM. */
export interface CertificateFiles {
  /** The certificate, with the intermediate ones after it. */
  readonly certFile: string;
  readonly keyFile: string;
}

export interface CertificateListener {
  /** New connections have another certificate from now on. */
  replaced(validUntilMs: number): void;
  /** The files have changed, and cannot be used. New connections have the certificate from before. */
  failed(reason: string): void;
}

/**
 * The certificate of a listener. Its files are read again every 10 s. A certificate that was renewed is used for new
 * connections; if the new files are not a certificate and its key, the old one stays.
 */
export class Certificate {
  readonly #files: CertificateFiles;
  readonly #listener: CertificateListener;
  readonly #timer: NodeJS.Timeout;
  /** The text of both files when they were last looked at. */
  #seen: string;
  #context: SecureContext;
  #validUntilMs: number;
  #isLooking = false;

  /** @throws if the files cannot be read, or are not a certificate and its key. */
  constructor(files: CertificateFiles, listener: CertificateListener, defects: Defects) {
    this.#files = files;
    this.#listener = listener;
    const [cert, key] = [readFileSync(files.certFile, 'utf8'), readFileSync(files.keyFile, 'utf8')];
    this.#context = createSecureContext({ cert, key });
    this.#validUntilMs = validUntilMs(cert);
    this.#seen = cert + key;
    this.#timer = setInterval(() => {
      this.look().catch((error: unknown) => defects.caught('certificate', error));
    }, lookEveryMs);
    this.#timer.unref();
  }

  /** What new connections begin with. */
  get context(): SecureContext {
    return this.#context;
  }

  /** When the certificate ends, in milliseconds since 1970. */
  get validUntilMs(): number {
    return this.#validUntilMs;
  }

  /** Reads the files now, and uses them if they have changed. Resolves when that is done; does not reject. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      const [cert, key] = await Promise.all([
        readFile(this.#files.certFile, 'utf8'),
        readFile(this.#files.keyFile, 'utf8'),
      ]);
      if (cert + key === this.#seen) return;
      this.#seen = cert + key;
      this.#context = createSecureContext({ cert, key });
      this.#validUntilMs = validUntilMs(cert);
      this.#listener.replaced(this.#validUntilMs);
    } catch (error) {
      this.#failed(error as NodeJS.ErrnoException);
    } finally {
      this.#isLooking = false;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Tells of a failure once, and not at every look. */
  #failed({ code, message }: NodeJS.ErrnoException): void {
    const reason = code ?? message;
    if (code === 'ENOENT' || code === 'EACCES') {
      if (this.#seen === reason) return;
      this.#seen = reason;
    }
    this.#listener.failed(reason);
  }
}

function validUntilMs(cert: string): number {
  return new X509Certificate(cert).validToDate.getTime();
}

import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Defects } from '@spillway/server/defects';
import { readSmallFile, readSmallFileLater, whyNoFile } from '../process/small-file.ts';

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
    const [cert, key] = [readSmallFile(files.certFile), readSmallFile(files.keyFile)];
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
      const texts = await this.#read();
      if (texts === undefined || texts.cert + texts.key === this.#seen) return;
      this.#seen = texts.cert + texts.key;
      this.#context = createSecureContext(texts);
      this.#validUntilMs = validUntilMs(texts.cert);
      this.#listener.replaced(this.#validUntilMs);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      this.#listener.failed(code ?? message);
    } finally {
      this.#isLooking = false;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Both texts; `undefined`: they cannot be read, which is told once, and not at every look. */
  async #read(): Promise<{ readonly cert: string; readonly key: string } | undefined> {
    const { certFile, keyFile } = this.#files;
    try {
      const [cert, key] = await Promise.all([readSmallFileLater(certFile), readSmallFileLater(keyFile)]);
      return { cert, key };
    } catch (error) {
      const reason = whyNoFile(error);
      if (this.#seen !== reason) this.#listener.failed(reason);
      this.#seen = reason;
      return undefined;
    }
  }
}

function validUntilMs(cert: string): number {
  return new X509Certificate(cert).validToDate.getTime();
}

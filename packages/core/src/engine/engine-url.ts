import type { SpillwayError } from '../errors.ts';
import { invalid } from '../invalid.ts';
import { nearest } from '../nearest.ts';

/** A server of an engine. */
export interface EngineHost {
  /** A name or an address, that of IPv6 without brackets. */
  readonly host: string;
  /** 0 to 65,535. */
  readonly port: number;
}

const hostForm = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/;

/**
 * Reads the parts of the URLs of one engine. Several hosts are no URL to `new URL`, whose errors carry the whole text, with the
 * password: those of this reader never have a user, a password, or what may be a part of one.
 *
 * @example
 * ```ts
 * import { EngineUrlReader } from '@spillway/core/engine';
 *
 * const reader = new EngineUrlReader('NATS', 'nats://HOST:PORT/STREAM');
 * reader.host('[::1]', 4222); // { host: '::1', port: 4222 }
 * reader.parameters('tls=1', ['tls', 'timeoutMs']); // Map { 'tls' => '1' }
 * ```
 */
export class EngineUrlReader {
  readonly #engine: string;
  readonly #form: string;

  /**
   * @param engine names the engine in errors.
   * @param form how its URLs look.
   */
  constructor(engine: string, form: string) {
    this.#engine = engine;
    this.#form = form;
  }

  /** Returns the error for a URL. `expected` is shown as it is. Default: the form. */
  invalid(expected = `expected ${this.#form}`): SpillwayError {
    return invalid(`url of ${this.#engine}: ${expected}.`);
  }

  /** @throws {SpillwayError} `invalid_option` for a `%` that begins no character. */
  decoded(text: string): string {
    try {
      return decodeURIComponent(text);
    } catch {
      throw this.invalid('expected % to begin a character in base 16, also in user and password');
    }
  }

  /** Reads `USER:PASSWORD`, `USER` or `:PASSWORD`. */
  login(text: string): { readonly user: string | undefined; readonly password: string | undefined } {
    const colon = text.indexOf(':');
    return {
      user: this.decoded(colon === -1 ? text : text.slice(0, colon)) || undefined,
      password: colon === -1 ? undefined : this.decoded(text.slice(colon + 1)),
    };
  }

  /** Reads `HOST:PORT`. @throws {SpillwayError} `invalid_option`, with the form, for anything else. */
  host(text: string, defaultPort: number): EngineHost {
    const [, address, name, digits] = hostForm.exec(text) ?? [];
    const host = address ?? name;
    const port = digits === undefined ? defaultPort : Number(digits);
    if (host === undefined || port > 65_535) throw this.invalid();
    return { host, port };
  }

  /**
   * Reads what stands behind the question mark: `NAME=VALUE` with `&` between them.
   *
   * @throws {SpillwayError} `invalid_option` for a name that is not known, which is shown only if it looks like one, for one
   * that comes twice, and for one without a value.
   */
  parameters(query: string, known: readonly string[]): ReadonlyMap<string, string> {
    const parameters = new Map<string, string>();
    for (const pair of query.split('&').filter((text) => text !== '')) {
      const [name = '', ...rest] = pair.split('=').map((text) => this.decoded(text));
      const value = rest.join('=');
      if (!known.includes(name)) {
        const near = nearest(name, known);
        const shown = /^[a-z_]{1,30}$/i.test(name) ? name : 'another one';
        throw this.invalid(
          `expected the parameters ${known.join(', ')}, got ${shown}${near === undefined ? '' : `: did you mean ${near}?`}`,
        );
      }
      if (value === '' || parameters.has(name)) throw this.invalid(`expected ${name}=VALUE once`);
      parameters.set(name, value);
    }
    return parameters;
  }

  /**
   * A whole number among the parameters; `undefined`: it is not there.
   *
   * @throws {SpillwayError} `invalid_option` for anything else.
   */
  whole(
    parameters: ReadonlyMap<string, string>,
    name: string,
    least: number,
    most: number,
  ): number | undefined {
    const text = parameters.get(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (/^\d{1,16}$/.test(text) && value >= least && value <= most) return value;
    throw this.invalid(
      `${name}: expected a whole number from ${least} to ${most}, got ${JSON.stringify(text.slice(0, 30))}`,
    );
  }
}

/** A server as URLs have it. */
export function shownHost({ host, port }: EngineHost): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

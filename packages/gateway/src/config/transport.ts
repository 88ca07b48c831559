import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { ConfigError } from './config-error.ts';
import { isExempt } from './no-proxy.ts';
import { readSecret } from './secret.ts';
import { readSettingFile } from './setting-file.ts';
import type { Upstream } from './upstream.ts';

/** How to connect to a provider that needs more than the built-in reader of replies has. */
export interface Transport {
  /** Names the provider: its connections carry no other provider's requests. */
  readonly id: string;
  /** Whether HTTP/2 is offered beside HTTP/1.1. The provider chooses one. */
  readonly http2: boolean;
  readonly proxy: Proxy | undefined;
  /** The trusted authorities, and the gateway's own certificate; `undefined`: Node's defaults. */
  readonly secureContext: SecureContext | undefined;
}

/** A proxy that opens a tunnel to the provider. */
export interface Proxy {
  /** The URL without user and password. */
  readonly url: URL;
  /** The value of `Proxy-Authorization`: a secret. */
  readonly authorization: string | undefined;
}

/** Before it, what follows a frame that is wrong can be an assertion that fails in Node: CVE-2026-27135. */
const leastNghttp2 = '1.68.1';

/**
 * Whether this Node speaks HTTP/2 in a way that no peer can end its process with. Compared only when somebody asks for HTTP/2:
 * the first comparison of a process loads the rules of all languages.
 */
export function hasHttp2(): boolean {
  return (process.versions['nghttp2'] ?? '0').localeCompare(leastNghttp2, 'en', { numeric: true }) >= 0;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the transport of an upstream; `undefined`: it has no such options, and the built-in reader is used.
 *
 * @throws {ConfigError} for files that cannot be read or do not fit, for proxies that are none, and for HTTP/2 where it is not safe. No
 *   password is printed.
 */
export function readTransport(upstream: Upstream, env: Environment): Transport | undefined {
  const { api, caFile, certFile, http2, keyFile, name, proxy, url } = upstream;
  const chosen = [http2, proxy, caFile, certFile, keyFile];
  if (chosen.every((option) => option === undefined || option === false)) return undefined;
  if (http2 === true && !hasHttp2()) {
    const { nghttp2 = 'none', node } = process.versions;
    throw new ConfigError(
      `upstream ${name}: http2: expected a Node with nghttp2 ${leastNghttp2} or later (22.23 and 24.17 have it), got nghttp2 ${nghttp2} (Node ${node}), which a provider's bytes can end together with the whole gateway`,
    );
  }
  return {
    id: `${api} ${name}`,
    http2: http2 === true,
    proxy: proxy === 'env' ? proxyOf(name, new URL(url), env) : configuredProxy(upstream, env),
    secureContext: secureContext(upstream),
  };
}

/** A proxy from the environment, and the variable that holds it. */
interface EnvironmentProxy {
  readonly variable: string;
  readonly text: string;
}

/**
 * The proxy for a URL, chosen as curl does: by the URL's scheme, the variable in lower case first, and none
 * for a host in `NO_PROXY`.
 */
export function proxyInEnvironment(url: URL, env: Environment): EnvironmentProxy | undefined {
  const variable = `${url.protocol.slice(0, -1)}_proxy`;
  const [found] = [variable, variable.toUpperCase()].flatMap((each) => {
    const text = env[each];
    return text === undefined || text === '' ? [] : [{ variable: each, text }];
  });
  const noProxy = env['no_proxy'] ?? env['NO_PROXY'] ?? '';
  return isExempt(url, noProxy) ? undefined : found;
}

function proxyOf(name: string, url: URL, env: Environment): Proxy | undefined {
  const found = proxyInEnvironment(url, env);
  if (found === undefined) return undefined;
  const text = found.text.includes('://') ? found.text : `http://${found.text}`;
  const isUrl = URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
  // The value is not printed: it may contain a password.
  if (!isUrl)
    throw new ConfigError(
      `upstream ${name}: expected the http:// or https:// URL of a proxy in ${found.variable} (proxy: env), got something else`,
    );
  const proxy = new URL(text);
  const user = decoded(proxy.username);
  const password = decoded(proxy.password);
  return { url: bare(proxy), authorization: user === '' ? undefined : basic(`${user}:${password}`) };
}

function configuredProxy(
  { name, proxy, proxyAuthEnv, proxyAuthFile }: Upstream,
  env: Environment,
): Proxy | undefined {
  if (proxy === undefined) return undefined;
  const auth = readSecret(
    {
      owner: `upstream ${name}`,
      kind: 'password',
      variable: proxyAuthEnv,
      variableSetting: 'proxyAuthEnv',
      path: proxyAuthFile,
      fileSetting: 'proxyAuthFile',
    },
    env,
  );
  return { url: bare(new URL(proxy)), authorization: auth === undefined ? undefined : basic(auth) };
}

function bare(url: URL): URL {
  return new URL(`${url.protocol}//${url.host}`);
}

function basic(credentials: string): string {
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // The text has a percent sign that begins no encoding: it stands for itself.
    return text;
  }
}

/** The files are read once: a renewed certificate needs a restart. */
function secureContext(upstream: Upstream): SecureContext | undefined {
  const { caFile, certFile, keyFile, name } = upstream;
  if (caFile === undefined && certFile === undefined) return undefined;
  const ca = certificates(upstream, 'caFile');
  const cert = certificates(upstream, 'certFile');
  const key = keyFile === undefined ? undefined : read(upstream, 'keyFile');
  try {
    return createSecureContext({
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const expected =
      'a private key in PEM, without a passphrase, that belongs to the certificate in certFile';
    throw new ConfigError(`upstream ${name}: keyFile: expected ${expected}, got ${code ?? message}`);
  }
}

/** Reads the certificates of a file. Node would accept a file without any, and then trust no provider. */
function certificates(upstream: Upstream, setting: 'caFile' | 'certFile'): string | undefined {
  if (upstream[setting] === undefined) return undefined;
  const text = read(upstream, setting);
  const found = text.match(/-----BEGIN [^-]*CERTIFICATE-----[^-]*-----END [^-]*CERTIFICATE-----/g) ?? [];
  try {
    for (const each of found) new X509Certificate(each);
    if (found.length > 0) return text;
  } catch {
    // The error is thrown below.
  }
  throw new ConfigError(
    `upstream ${upstream.name}: ${setting}: expected certificates in PEM, got something else`,
  );
}

function read(upstream: Upstream, setting: 'caFile' | 'certFile' | 'keyFile'): string {
  return readSettingFile(`upstream ${upstream.name}: ${setting}`, upstream[setting] ?? '');
}

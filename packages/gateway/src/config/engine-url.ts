import { shownUrl } from './shown-url.ts';

/** An engine that is a server: what URLs of it begin with, and who writes there. */
export interface EngineKind {
  /** The package with its sink. It is loaded only when a tap names the engine. */
  readonly package: string;
  /** What the package exports to open a sink. */
  readonly open: string;
}

const redis: EngineKind = { package: '@spillway/redis', open: 'openRedisSink' };
const nats: EngineKind = { package: '@spillway/nats', open: 'openNatsSink' };
const kafka: EngineKind = { package: '@spillway/kafka', open: 'openKafkaSink' };
const sqs: EngineKind = { package: '@spillway/aws', open: 'openSqsSink' };
const s3: EngineKind = { package: '@spillway/aws', open: 'openS3Sink' };
const postgres: EngineKind = { package: '@spillway/postgres', open: 'openPostgresSink' };

/** The engines of taps, by the scheme of their URLs. */
const engineKinds: Readonly<Record<string, EngineKind>> = {
  redis,
  rediss: redis,
  'redis+sentinel': redis,
  'rediss+sentinel': redis,
  nats,
  tls: nats,
  kafka,
  kafkas: kafka,
  sqs,
  s3,
  postgres,
  postgresql: postgres,
};

/** The schemes, for messages. */
export const engineSchemes = Object.keys(engineKinds).map((scheme) => `${scheme}://`);

/** The engine that the URL of a tap names; `undefined`: it is none, but a file or standard output. */
export function engineKindOf(to: string): EngineKind | undefined {
  const [, scheme = ''] = /^([a-z0-9+]+):\/\/./.exec(to) ?? [];
  return Object.hasOwn(engineKinds, scheme) ? engineKinds[scheme] : undefined;
}

/**
 * Where a tap writes, as it is shown: without user, password and what may be a secret in the query. A password with
 * characters that no URL may have is hidden, too: all up to the last `@` is.
 */
export function shownPlace(to: string): string {
  if (/^(?:sqlite|file|stdout):/.test(to)) return to;
  return shownUrl(to.replace(/^([a-z0-9+]+:\/\/)?.*@/is, '$1***@'));
}

/** Whether a password, or a token of NATS, stands in the URL itself. */
export function hasPassword(to: string): boolean {
  const kind = engineKindOf(to);
  return kind !== undefined && (kind === nats ? /@/ : /^[^/]+:\/\/[^@]*:[^@]*@/).test(to);
}

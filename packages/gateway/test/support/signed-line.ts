import { onTestFinished } from 'vitest';
import {
  serveSimulatedModels,
  type SimulatedModelServerOptions,
  type SimulatedModel,
} from '@spillway/voice/simulate/model';
import twilio from 'twilio';
import { stringify } from 'yaml';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../../core/test/support/free-port.ts';
import { type RunningGateway, startGateway } from './processes.ts';
import { temporaryFolder } from './prometheus.ts';
import { eventually } from './spawn.ts';

/** The auth token of the account that calls. */
export const authToken = '0123456789abcdef0123456789abcdef';
/** The key that the provider wants. */
export const apiKey = 'sk-SEKRET';

/** A realtime model that is somebody else's, and its sessions. */
export interface RealtimeProvider {
  /** Its base URL, as `upstream` has it. */
  readonly url: string;
  readonly sessions: readonly SimulatedModel[];
}

/** Serves a provider that wants its key. */
export async function startRealtimeProvider(
  options: SimulatedModelServerOptions = {},
): Promise<RealtimeProvider> {
  const sessions: SimulatedModel[] = [];
  const server = await serveSimulatedModels({
    apiKey,
    thinkMs: 50,
    ...options,
    onSession: (session) => void sessions.push(session),
  });
  onTestFinished(() => server.close());
  return { url: server.url.replace(/^ws/, 'http').replace(/\/realtime$/, ''), sessions };
}

export interface SignedGateway extends RunningGateway {
  /** The number's webhook, and where Twilio asks what follows. */
  readonly webhook: string;
  readonly ended: string;
  /** Its socket. */
  readonly socket: string;
  /** Loads another configuration. Returns what the log says of it. */
  readonly reload: (config: Readonly<Record<string, unknown>>) => Promise<Readonly<Record<string, unknown>>>;
}

/** Where a provider is. Its name is that of its API. */
interface ProviderPlace {
  readonly url: string;
  readonly api?: 'anthropic' | 'gemini' | 'openai';
}

function upstreamOf({ api = 'openai', url }: ProviderPlace): Readonly<Record<string, string>> {
  return { name: api, api, url, apiKeyEnv: 'PROVIDER_KEY' };
}

/** Settings of a gateway that answers calls with that provider. */
export function voiceConfig(
  provider: ProviderPlace | undefined,
  voice: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return {
    ...(provider === undefined ? {} : { upstream: [upstreamOf(provider)] }),
    voice: { model: 'openai/gpt-realtime-2', ...voice },
  };
}

/** Starts a gateway with a line of a carrier's account. */
export async function startSignedGateway(
  provider: ProviderPlace | undefined,
  voice: Readonly<Record<string, unknown>> = {},
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<SignedGateway> {
  const publicUrl = `http://127.0.0.1:${await freePort()}`;
  const folder = temporaryFolder();
  const path = join(folder, 'spillway.yaml');
  const write = (config: Readonly<Record<string, unknown>>): void => {
    const { voice: asked, ...others } = config;
    writeFileSync(path, stringify({ ...others, voice: { publicUrl, ...(asked as object) } }));
  };
  write(voiceConfig(provider, voice));
  const gateway = await startGateway(['--port', new URL(publicUrl).port, ...args], {
    cwd: folder,
    env: { TWILIO_AUTH_TOKEN: authToken, PROVIDER_KEY: apiKey, TOOL_KEY: 'tool-SEKRET', ...env },
  });
  const outcomes = (): Record<string, unknown>[] =>
    gateway
      .stderr()
      .split('\n')
      .filter((line) => line.includes('"the configuration was '))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return Object.assign(gateway, {
    webhook: `${publicUrl}/voice/twilio`,
    ended: `${publicUrl}/voice/twilio/ended`,
    socket: `${publicUrl.replace('http', 'ws')}/voice/twilio`,
    async reload(config: Readonly<Record<string, unknown>>) {
      const before = outcomes().length;
      write(config);
      gateway.process.kill('SIGHUP');
      return await eventually(() => outcomes()[before], 'the reload to be logged');
    },
  });
}

/** Asks as Twilio does, signed by Twilio's own library. */
export async function askSigned(
  url: string,
  form: Readonly<Record<string, string>>,
  { signed = url, token = authToken }: { readonly signed?: string; readonly token?: string } = {},
): Promise<Response> {
  return await fetch(url, {
    method: 'POST',
    headers: { 'x-twilio-signature': twilio.getExpectedTwilioSignature(token, signed, form) },
    body: new URLSearchParams(form),
  });
}

/** Twilio's signature of a socket. */
export function socketSignature(url: string): string {
  return twilio.getExpectedTwilioSignature(authToken, url, {});
}

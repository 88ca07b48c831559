import { type Program, startGateway, startPipe } from './programs.ts';

/** Something that stands between a reader and a provider. */
export interface System {
  readonly name: string;
  /** What is in front of a token's text in the events that it sends. Default: as the provider has it. */
  readonly textKey?: string;
  /** Headers that it wants to have with every request. */
  headers?(upstreamUrl: string): Readonly<Record<string, string>>;
  /** Starts it, pinned by the prefix, in front of an upstream. */
  start(upstreamUrl: string, prefix: readonly string[]): Promise<Program>;
}

/** What everything is compared with. */
export const yardstick = 'bare Node pipe';

const env = { NODE_ENV: 'production' };

export const systems: readonly System[] = [
  { name: yardstick, start: async (upstream, prefix) => await startPipe(upstream, { prefix, env }) },
  {
    name: 'Spillway',
    start: async (upstream, prefix) =>
      await startGateway(upstream, ['--max-streams', '100000'], { prefix, env }),
  },
];

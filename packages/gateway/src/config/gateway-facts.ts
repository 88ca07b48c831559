import { hostname } from 'node:os';
import type { GatewayFacts } from '@spillway/server/console/snapshot';
import { effectiveSettings } from './effective.ts';
import type { Settings } from './load.ts';

/** What only operators may know. `maxStreams`: what the descriptors of this process left of it. */
export function gatewayFacts(settings: Settings, maxStreams: number): GatewayFacts {
  const config = { ...settings.config, maxStreams };
  return {
    host: hostname(),
    pid: process.pid,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    settings: effectiveSettings({ ...settings, config }, process.env),
  };
}

import type { RecordSink } from '@spillway/core';
import type { RedactionRule } from '@spillway/server/tap/content/redaction-rule';
import { redactionRules } from '@spillway/server/tap/content/redactor';
import { RecordTap, type TapLog } from '@spillway/server/tap/record-tap';
import type { TappedStream } from '@spillway/server/stream/tap';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { ConfigError } from '../config/config-error.ts';
import { shownPlace } from '../config/engine-url.ts';
import { type ConfiguredTap, overflowOf } from '../config/tap.ts';
import { wants } from '../config/wants.ts';
import { GroupLags } from './group-lags.ts';
import { LeavingLog } from './leaving-log.ts';
import { openSink, type SinkChange, type TapSink } from './open-sink.ts';
import { SharedSink } from './shared-sink.ts';

export interface TapsOptions {
  readonly clock: ServerClock;
  readonly log: TapLog;
  /** Whether a stream is the gateway's own, such as the canary's. No tap writes it down. */
  readonly isOwn: (stream: TappedStream) => boolean;
}

export interface OpenTap {
  readonly settings: ConfiguredTap;
  readonly tap: RecordTap;
  readonly sink: TapSink;
  readonly shared: SharedSink;
  /** The log of what has to do with the sink. */
  readonly log: LeavingLog;
  /** Asked for by the tap while it is in force, whoever else has the sink; `undefined`: it names no groups. */
  readonly lags: GroupLags | undefined;
  /** What it changes of a sink that others have, while it is prepared. */
  readonly change?: SinkChange;
}

/**
 * A start does without an engine that does not let the gateway in. A reload has better: what is in force stays so.
 *
 * @throws {ConfigError}
 */
export async function openTap(
  settings: ConfiguredTap,
  options: TapsOptions,
  isReload: boolean,
): Promise<OpenTap> {
  const log = new LeavingLog(options.log);
  const opening = openSink(settings, { clock: options.clock, log, isDenialAnError: isReload });
  const sink = await opening.catch(throwNotOpened(settings));
  return tapOn(settings, { sink, shared: new SharedSink(sink.sink), log }, options);
}

/**
 * A tap that writes by the spill of another one, and changes the way from there to the engine.
 *
 * @throws {ConfigError}
 */
export async function changedTap(
  settings: ConfiguredTap,
  other: OpenTap,
  options: TapsOptions,
): Promise<OpenTap> {
  const { clock } = options;
  const opening = other.sink.change(settings, { clock, log: other.log, isDenialAnError: true });
  const change = await opening.catch(throwNotOpened(settings));
  return { ...tapOn(settings, other, options), change };
}

function throwNotOpened({ name, to }: ConfiguredTap): (error: unknown) => never {
  return (error) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`tap ${name}: expected to open ${shownPlace(to)}, got: ${reason}`, {
      cause: error,
    });
  };
}

/** A tap that writes to a sink which is open. */
export function tapOn(
  settings: ConfiguredTap,
  { log, shared, sink }: Pick<OpenTap, 'log' | 'shared' | 'sink'>,
  { clock, isOwn }: TapsOptions,
): OpenTap {
  const { groups = [], name } = settings;
  const tap = recordTap(settings, shared.share(), () => sink.isReady, { clock, isOwn, log });
  const lags =
    groups.length === 0
      ? undefined
      : new GroupLags({ tap: name, groups, engine: () => sink.engine, clock, log });
  return { settings, sink, shared, tap, log, lags };
}

function recordTap(
  settings: ConfiguredTap,
  sink: RecordSink,
  isReady: () => boolean,
  { clock, isOwn, log }: TapsOptions,
): RecordTap {
  const { content, deadlineMs, everyMs, gate, maxRecordBytes, maxRecords, name, request } = settings;
  const { redact, refused, shed, shedAboveMs, shedBelowMs } = settings;
  return new RecordTap({
    name,
    sink,
    isReady,
    when: (stream) => !isOwn(stream) && isWanted(settings, stream),
    content,
    keepsRequest: request,
    keepsRefused: refused,
    redact: redact && rulesOf(redact),
    shed: shed && { aboveMs: shedAboveMs, belowMs: shedBelowMs, parts: shed },
    gate,
    overflow: overflowOf(settings),
    maxRecords,
    maxRecordBytes,
    deadlineMs,
    everyMs,
    clock,
    log,
  });
}

/** In the order in which they hold back least. */
function rulesOf(names: NonNullable<ConfiguredTap['redact']>): RedactionRule[] {
  return Object.values(redactionRules).filter((rule) => names.some((name) => redactionRules[name] === rule));
}

/** Whether a tap has a stream: also where a provider that it asks for may answer in place of another. */
function isWanted(settings: ConfiguredTap, { client, model = '', origin }: TappedStream): boolean {
  const { caller, tenant } = client;
  return [origin.name, ...(origin.others ?? [])].some((provider) =>
    wants(settings, { caller, model, provider, tenant }),
  );
}

import type { Durability, RecordSink } from '@spillway/core';
import type { EngineFacts, EngineSink } from '@spillway/core/engine';
import type { AuditHead } from '@spillway/server/audit/audit-chain';
import { openAuditLog } from '@spillway/server/audit/audit-log';
import type { TapLog } from '@spillway/server/tap/record-tap';
import { type DeadLetterSink, openDeadLetterSink } from '@spillway/server/tap/sinks/dead-letter-sink';
import { openFileSink } from '@spillway/server/tap/sinks/file-sink';
import { openSpillSink, type SpillBounds, type SpillSink } from '@spillway/server/tap/sinks/spill-sink';
import { openStdoutSink } from '@spillway/server/tap/sinks/stdout-sink';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { type EngineKind, engineKindOf } from '../config/engine-url.ts';
import { type ConfiguredTap, deadLettersOf, keysUnlike, losesNothing } from '../config/tap.ts';
import { openOutput } from '../process/output.ts';
import { DeadLetterLog } from './dead-letter-log.ts';
import { loadEngine } from './load-engine.ts';
import { ReplaceableSink } from './replaceable-sink.ts';
import { expectOwnSpill, markSpill } from './spill-place.ts';
import { TapEngine } from './tap-engine.ts';
import { unfitness } from './unfitness.ts';

/** How long the start waits for an engine that is a server, and each try after it may take. */
const openTimeoutMs = 5000;
/** How long a slow engine may take for what is on the disk of its spill: nobody waits for it. */
const drainTimeoutMs = 30_000;

/** The sink of a tap, and what it is made of. What is `undefined` is not there, or not known at the moment. */
export interface TapSink {
  /** The settings that it was opened with, or changed to last. */
  readonly settings: ConfiguredTap;
  readonly sink: RecordSink;
  /** Whether something can be written, as far as it is known without a write. */
  readonly isReady: boolean;
  readonly durability: Durability | undefined;
  /** Why the engine takes nothing. */
  readonly problem: string | undefined;
  /** How often the engine was found without records that it had acknowledged. */
  readonly forgotten: number;
  /** Where the chain of an audit log is. */
  readonly head: AuditHead | undefined;
  readonly facts: EngineFacts | undefined;
  readonly spill: SpillSink | undefined;
  /** Whether the engine behind the spill is there. */
  readonly isEngineUp: boolean;
  readonly deadLetters: DeadLetterSink | undefined;
  /** What can be asked how far groups of readers are behind, while it is open. */
  readonly engine: Pick<EngineSink, 'lagOf'> | undefined;
  /**
   * Opens what other settings with the same spill and the same place need, beside what writes now: the engine, if it is written
   * in another way. Settings of the same way change the bounds of the spill alone.
   *
   * @throws {SpillwayError} as {@link openSink}.
   */
  change(tap: ConfiguredTap, options: OpenSinkOptions): Promise<SinkChange>;
}

interface OpenSinkOptions {
  readonly clock: ServerClock;
  readonly log: TapLog;
  /** Whether an engine that answers and does not let the gateway in is an error, and not only away. */
  readonly isDenialAnError: boolean;
}

/** What a tap writes to. Some have more to say of themselves than others. */
type Engine = RecordSink &
  Partial<Pick<EngineSink, 'address' | 'facts' | 'isLossy' | 'lagOf'>> & { readonly head?: AuditHead };

/** What other settings of a tap need, opened and not in force. One of the two has to be called. */
export interface SinkChange {
  commit(): void;
  /** Closes what was opened for it. */
  abort(): Promise<void>;
}

/** An engine, with the file of what it refuses around it. */
interface OpenEngine {
  readonly engine: TapEngine<Engine>;
  readonly deadLetters: DeadLetterSink | undefined;
  /** The outermost of them. */
  readonly kept: RecordSink;
}

/**
 * Opens what the `to` of a tap names, with its dead letters and its spill. An engine that is a server, or has a spill before
 * it, may be away.
 *
 * @throws {SpillwayError} if one of them cannot be opened, or the engine is less than the tap asks for.
 */
export async function openSink(tap: ConfiguredTap, options: OpenSinkOptions): Promise<TapSink> {
  await expectOwnSpill(tap);
  const opened = await openEngine(tap, options);
  if (tap.spill === undefined) return new OpenTapSink(tap, opened, undefined, undefined);
  const { clock, log } = options;
  const replaceable = new ReplaceableSink(opened.kept);
  // What is before it closes it, also when the spill cannot be opened.
  const spill = await openSpillSink(replaceable, {
    ...boundsOf(tap),
    path: tap.spill,
    clock,
    onDamage: (damage) =>
      log.error({ tap: tap.name, ...damage }, 'a part of the spill of a tap cannot be read'),
  });
  await markSpill(tap).catch(async (error: unknown) => {
    await spill.close();
    throw error;
  });
  return new OpenTapSink(tap, opened, spill, replaceable);
}

class OpenTapSink implements TapSink {
  settings: ConfiguredTap;
  readonly sink: RecordSink;
  readonly spill: SpillSink | undefined;
  readonly #kind: EngineKind | undefined;
  readonly #replaceable: ReplaceableSink | undefined;
  #opened: OpenEngine;

  constructor(
    settings: ConfiguredTap,
    opened: OpenEngine,
    spill: SpillSink | undefined,
    replaceable: ReplaceableSink | undefined,
  ) {
    this.settings = settings;
    this.sink = spill ?? opened.kept;
    this.spill = spill;
    this.#kind = engineKindOf(settings.to);
    this.#opened = opened;
    this.#replaceable = replaceable;
  }

  async change(tap: ConfiguredTap, options: OpenSinkOptions): Promise<SinkChange> {
    const isOtherWay = keysUnlike(tap, this.settings).length > 0;
    const opened = isOtherWay ? await openEngine(tap, options) : undefined;
    return {
      abort: async () => opened?.kept.close(),
      commit: () => {
        this.settings = tap;
        this.spill?.changeBounds(boundsOf(tap));
        if (opened === undefined) return;
        this.#replaceable?.replace(opened.kept);
        this.#opened = opened;
      },
    };
  }

  get #engine(): TapEngine<Engine> {
    return this.#opened.engine;
  }

  get forgotten(): number {
    return this.#engine.forgotten;
  }

  get deadLetters(): DeadLetterSink | undefined {
    return this.#opened.deadLetters;
  }

  get isReady(): boolean {
    return this.spill !== undefined || this.engine !== undefined;
  }

  get durability(): Durability | undefined {
    return this.#kind !== undefined && this.engine === undefined ? undefined : this.sink.durability;
  }

  get problem(): string | undefined {
    return this.#engine.problem ?? this.deadLetters?.problem;
  }

  get head(): AuditHead | undefined {
    return this.engine?.head;
  }

  get facts(): EngineFacts | undefined {
    return this.engine?.facts;
  }

  get isEngineUp(): boolean {
    return this.#engine.isUp && this.spill?.isEngineUp !== false;
  }

  get engine(): Engine | undefined {
    return this.#engine.engine;
  }
}

/** An engine that hangs is left before the tap gives up the write. */
function engineTimeoutOf({ deadlineMs }: ConfiguredTap): number {
  return Math.min(2000, deadlineMs / 2);
}

function boundsOf(tap: ConfiguredTap): SpillBounds {
  return {
    maxBytes: tap.maxSpillBytes,
    engineTimeoutMs: engineTimeoutOf(tap),
    drainTimeoutMs: Math.max(tap.deadlineMs, drainTimeoutMs),
  };
}

async function openEngine(
  tap: ConfiguredTap,
  { clock, isDenialAnError, log }: OpenSinkOptions,
): Promise<OpenEngine> {
  const { name, spill, to } = tap;
  const kind = engineKindOf(to);
  const open = await openerOf(tap, kind, clock, log);
  /** How often the engine has lost what it had, as the log says. */
  let forgotten = 0;
  /** What it warns of, as the log says. */
  let warned = '';
  const engine: TapEngine<Engine> = await TapEngine.open({
    name,
    open,
    unfitness: (opened) => unfitness(tap, opened),
    onOpen: (opened) => {
      forgotten = 0;
      warned = warningsOf(opened);
      tellFacts(name, opened, log);
    },
    onWritten: (opened) => {
      const warns = warningsOf(opened);
      if (warns !== warned) tellFacts(name, opened, log);
      warned = warns;
      const forgot = opened.facts?.forgot;
      if (forgot === undefined || forgot.times === forgotten) return;
      engine.forgotten += forgot.times - forgotten;
      forgotten = forgot.times;
      log.error(
        { tap: name, why: forgot.why },
        'what a tap writes to came back without records that it had acknowledged',
      );
    },
    durability: kind === undefined && to !== 'stdout:' ? 'fsync' : 'memory',
    isSpilled: spill !== undefined,
    isDenialAnError,
    timeoutMs: spill === undefined ? kind && openTimeoutMs : engineTimeoutOf(tap),
    clock,
    log,
  });
  const deadLetters = kind && buryRefused(engine, tap, clock, log);
  return { engine, deadLetters, kept: deadLetters ?? engine };
}

/** @throws {ConfigError} when the engine's package is not there. */
async function openerOf(
  tap: ConfiguredTap,
  kind: EngineKind | undefined,
  clock: ServerClock,
  log: TapLog,
): Promise<() => Promise<Engine>> {
  if (kind === undefined) return () => openLocal(tap, clock, log);
  const open = await loadEngine(kind);
  const { password, to: url } = tap;
  return () => open({ url, password, openTimeoutMs });
}

function warningsOf({ facts }: Engine): string {
  return facts?.warnings.join('\n') ?? '';
}

function tellFacts(tap: string, { address, durability, facts }: Engine, log: TapLog): void {
  if (facts === undefined) return;
  const { duplicates, durability: why, engine, warnings } = facts;
  log.info({ tap, address, engine, durability, why, duplicates, warnings }, 'what a tap writes to');
}

function buryRefused(
  engine: RecordSink,
  tap: ConfiguredTap,
  clock: ServerClock,
  log: TapLog,
): DeadLetterSink {
  const { maxDeadLetterBytes, name } = tap;
  const path = deadLettersOf(tap);
  const told = new DeadLetterLog({ tap: name, path, clock, log });
  return openDeadLetterSink(engine, {
    path,
    owner: name,
    maxBytes: maxDeadLetterBytes,
    whenFull: losesNothing(tap) ? 'fail' : 'drop',
    clock,
    onRefused: (letters) => told.add(letters),
    onClose: () => told.close(),
  });
}

function openLocal(tap: ConfiguredTap, clock: ServerClock, log: TapLog): Promise<Engine> {
  const { maxFileAgeMs, maxFileBytes, maxFiles, name, retainBytes, retainMs, to } = tap;
  const at = to.indexOf(':');
  const path = to.slice(at + 1);
  switch (to.slice(0, at)) {
    case 'sqlite':
      return openAuditLog(path, { clock, retain: { maxAgeMs: retainMs, maxBytes: retainBytes } });
    case 'file':
      return openFileSink(path, {
        clock,
        onLoss: (loss) =>
          log.error({ tap: name, ...loss }, 'somebody has cut or removed a file while a tap wrote to it'),
        ...(maxFileAgeMs !== undefined && { maxAgeMs: maxFileAgeMs }),
        ...(maxFileBytes !== undefined && { maxFileBytes }),
        ...(maxFiles !== undefined && { maxFiles }),
      });
    default:
      return Promise.resolve(openStdoutSink(openOutput(1), { clock }));
  }
}

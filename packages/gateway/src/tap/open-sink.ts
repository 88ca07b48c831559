import type { RecordSink } from '@spillway/core';
import type { AuditHead } from '@spillway/server/audit/audit-chain';
import { openAuditLog } from '@spillway/server/audit/audit-log';
import type { TapLog } from '@spillway/server/tap/record-tap';
import { openFileSink } from '@spillway/server/tap/sinks/file-sink';
import { openSpillSink, type SpillSink } from '@spillway/server/tap/sinks/spill-sink';
import { openStdoutSink } from '@spillway/server/tap/sinks/stdout-sink';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { TapSettings } from '../config/tap.ts';
import { openOutput } from '../process/output.ts';
import { SpilledEngine } from './spilled-engine.ts';

/** The sink of a tap, and what it is made of. */
export interface TapSink {
  readonly sink: RecordSink;
  /** Where the chain of an audit log is; `undefined`: the sink is none, or it is not open so far. */
  readonly head: AuditHead | undefined;
  /** `undefined`: the tap has no spill. */
  readonly spill?: SpillSink;
  /** Whether the engine behind the spill is there. `undefined`: the tap has no spill. */
  readonly isEngineUp?: boolean;
}

/** What a tap writes to, with or without a spill before it. */
type Engine = RecordSink & { readonly head?: AuditHead };

/**
 * Opens what the `to` of a tap names, and its spill. With a spill, the engine may be away.
 *
 * @throws {SpillwayError} if one of them cannot be opened.
 */
export async function openSink(tap: TapSettings, clock: ServerClock, log: TapLog): Promise<TapSink> {
  const { deadlineMs, maxSpillBytes, name, spill: path, to } = tap;
  if (path === undefined) {
    const sink: Engine = await openEngine(tap, clock, log);
    return {
      sink,
      get head() {
        return sink.head;
      },
    };
  }
  // An engine that hangs is left before the tap gives up the write.
  const engineTimeoutMs = Math.min(2000, deadlineMs / 2);
  const engine = await SpilledEngine.open({
    name,
    open: () => openEngine(tap, clock, log),
    durability: to === 'stdout:' ? 'memory' : 'fsync',
    timeoutMs: engineTimeoutMs,
    clock,
    log,
  });
  // It is closed with the spill, and when the spill cannot be opened.
  const spill = await openSpillSink(engine, {
    path,
    maxBytes: maxSpillBytes,
    engineTimeoutMs,
    clock,
    onDamage: (damage) => log.error({ tap: name, ...damage }, 'a part of the spill of a tap cannot be read'),
  });
  return {
    sink: spill,
    spill,
    get head() {
      return engine.engine?.head;
    },
    get isEngineUp() {
      return engine.isUp;
    },
  };
}

function openEngine(tap: TapSettings, clock: ServerClock, log: TapLog): Promise<Engine> {
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

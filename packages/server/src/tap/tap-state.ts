import type { Durability } from '@spillway/core';
import type { EngineFacts } from '@spillway/core/engine';
import type { AuditHead } from '../audit/audit-chain.ts';
import type { TapFigures } from './record-tap.ts';

/** What a sink keeps on the disk until its engine takes it again. */
export interface TapSpill {
  readonly records: number;
  readonly bytes: number;
  /** Beyond it, nothing more is taken. */
  readonly maxBytes: number;
  /** Whether the engine has taken its last write. */
  readonly isEngineUp: boolean;
}

/** The file with the records that an engine refused for ever. */
export interface TapDeadLetters {
  readonly path: string;
  /** The records that were put there since the start. */
  readonly records: number;
  readonly bytes: number;
  /** Beyond it, nothing more is put there. */
  readonly maxBytes: number;
}

/** How far a group of readers of a tap's engine is behind. */
export interface TapGroup {
  readonly group: string;
  /** What it has not acknowledged; `undefined`: nobody knows at the moment. */
  readonly entries: number | undefined;
  /** The age of the oldest of that, in milliseconds; `undefined`: nobody knows. */
  readonly ms: number | undefined;
  /** Why nothing is known; `undefined`: it is, as far as the engine can tell. */
  readonly problem: string | undefined;
}

/**
 * All that an operator is told of a tap: what it is, and what it has done. What is lost counts records too that could not
 * be read from the spill again, or that the engine refused and the file of dead letters did not take.
 */
export interface TapState extends TapFigures {
  /** Where records go, as it was configured, without secrets. */
  readonly to: string;
  /** What is kept of an answer. */
  readonly content: string;
  readonly overflow: string;
  /** Whether readers get only what the tap has kept. */
  readonly gate: boolean;
  /** What a kept record is worth; `undefined`: the engine was not reached so far. */
  readonly durability: Durability | undefined;
  /** Why what it writes to takes nothing at the moment; `undefined`: nothing is wrong. */
  readonly problem: string | undefined;
  /** How often the engine was found without records that it had acknowledged, since the tap has this engine. */
  readonly forgotten: number;
  /** What the engine says of itself; `undefined`: it is none that is a server, or was not reached so far. */
  readonly facts: EngineFacts | undefined;
  /** `undefined`: it writes to no engine that could refuse a record. */
  readonly deadLetters: TapDeadLetters | undefined;
  /** The groups of readers that are asked for. */
  readonly groups: readonly TapGroup[];
  /** Where the chain of an audit log is; `undefined`: the sink is none. */
  readonly head: AuditHead | undefined;
  /** `undefined`: the tap does not spill. */
  readonly spill: TapSpill | undefined;
}

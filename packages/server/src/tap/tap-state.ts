import type { Durability } from '@spillway/core';
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

/**
 * All that an operator is told of a tap: what it is, and what it has done. What is lost counts records too that could not
 * be read from the spill again.
 */
export interface TapState extends TapFigures {
  /** Where records go, as it was configured. */
  readonly to: string;
  /** What is kept of an answer. */
  readonly content: string;
  readonly overflow: string;
  /** Whether readers get only what the tap has kept. */
  readonly gate: boolean;
  /** What a kept record is worth. */
  readonly durability: Durability;
  /** Where the chain of an audit log is; `undefined`: the sink is none. */
  readonly head: AuditHead | undefined;
  /** `undefined`: the tap does not spill. */
  readonly spill: TapSpill | undefined;
}

import type { CallEndReason, CallFigures } from '@spillway/voice';

/** What the console gets of calls, four times a second. Never what is said in them. */
export interface CallsSnapshot {
  readonly atMs: number;
  /** Whether this gateway takes calls. */
  readonly isServed: boolean;
  /** Whether it places calls to itself, to be heard and watched. */
  readonly hasDemonstrations: boolean;
  /** The calls that run, the newest first. */
  readonly calls: readonly CallRow[];
  /** The latest that ended, the newest first. */
  readonly ended: readonly EndedCallRow[];
}

/** A call that runs. */
export interface CallRow {
  /** The carrier's id of the call. */
  readonly callId: string;
  readonly carrier: string;
  readonly ageMs: number;
  readonly figures: CallFigures;
}

/** A call that has ended. */
export interface EndedCallRow {
  readonly callId: string;
  readonly carrier: string;
  readonly endedAtMs: number;
  readonly durationMs: number;
  readonly reason: CallEndReason;
  readonly interruptions: number;
  readonly underruns: number;
  readonly droppedMs: number;
  readonly lostMs: number;
}

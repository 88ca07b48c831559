/** What waits in a call now, in milliseconds of audio, and what it has gone through. */
export interface CallFigures {
  /** Of the caller: what waits here for the model, what is on its way and not confirmed, what the model's socket has not taken. */
  readonly inWaitingMs: number;
  readonly inUnconfirmedMs: number;
  readonly inSocketMs: number;
  /** Of the model: what waits here for the ear, what is on its way and not confirmed, what the carrier's socket has not taken. */
  readonly outWaitingMs: number;
  readonly outUnconfirmedMs: number;
  readonly outSocketMs: number;
  readonly marksOut: number;
  readonly interruptions: number;
  readonly underruns: number;
  /** What interruptions have thrown away: on its way to the ear (at most), and here. */
  readonly droppedMs: number;
  /** What the model was too late for. */
  readonly lostMs: number;
  /** Sessions that were opened after one had failed. */
  readonly reopened: number;
}

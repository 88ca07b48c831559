/** What a demonstration tells a page: one of these in JSON on each line. */
export type DemonstrationLine =
  | DemonstrationBegin
  | DemonstrationSample
  | DemonstrationWords
  | DemonstrationInterruption
  | DemonstrationEnd;

/** The two bridges that get the same call. */
export type Lane = 'naive' | 'spillway';

/** The first line. */
export interface DemonstrationBegin {
  readonly kind: 'began';
  readonly id: string;
  /** The call at this gateway, as it is in the log and among the calls that run. */
  readonly callId: string;
  /** Audio that this gateway lets be on its way to the ear. */
  readonly windowMs: number;
}

/** Ten times a second: what was heard since the last one, and what waits now. */
export interface DemonstrationSample {
  readonly kind: 'sample';
  /** The part of the demonstration that the audio is of, in milliseconds since it began. */
  readonly fromMs: number;
  readonly toMs: number;
  /** What the caller said then: µ-law with 8,000 samples a second, in base64. Empty: silence. */
  readonly mouth: string;
  readonly lanes: Readonly<Record<Lane, LaneSample>>;
}

/** One bridge's call. Durations of audio are milliseconds. */
export interface LaneSample {
  /** What the caller's ear has played, as `mouth`. */
  readonly ear: string;
  /** Of the answer: what the ear has and has not played, and what waits in the bridge. */
  readonly atEarMs: number;
  readonly inBridgeMs: number;
  /** How much of both is of an answer that the caller has spoken into. */
  readonly unwantedMs: number;
  /** Of the caller, for the model: what waits in the bridge and its socket. */
  readonly toModelMs: number;
  /** Marks that are out to the ear, and those that came back. */
  readonly marksOut: number;
  readonly marksBack: number;
}

/** Somebody said something: the caller, or the model at this gateway. */
export interface DemonstrationWords {
  readonly kind: 'words';
  readonly who: 'caller' | 'model';
  readonly atMs: number;
  readonly text: string;
}

/** What became of an answer that the caller spoke into. Told when nothing of it is heard any more. */
export interface DemonstrationInterruption {
  readonly kind: 'interruption';
  readonly lane: Lane;
  /** When the caller began to speak. */
  readonly atMs: number;
  /** From then until nothing of the old answer was heard. */
  readonly quietAfterMs: number;
  /** How much of the old answer the ear has really played, silence in it too. `null`: it cannot be told from the one behind it. */
  readonly heardMs: number | null;
  /** How much the model was told that was heard. `null`: it was told nothing, and believes that all was. */
  readonly toldMs: number | null;
  /** What was dropped at the ear, and in the bridge. */
  readonly droppedAtEarMs: number;
  readonly droppedInBridgeMs: number;
}

/** The last line. */
export interface DemonstrationEnd {
  readonly kind: 'ended';
  /** `over`: the conversation has come to its end. `failed`: a call of it has not begun, or was lost. */
  readonly why: 'failed' | 'over' | 'stopping' | 'too_long';
}

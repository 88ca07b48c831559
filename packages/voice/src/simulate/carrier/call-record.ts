/** Audio that the human has really heard. Times are in milliseconds since the call began, on the carrier's clock. */
export interface PlayedAudio {
  readonly atMs: number;
  readonly ms: number;
  /** µ-law. */
  readonly audio: Uint8Array;
  /** Whether it is more than silence. */
  readonly isAudible: boolean;
}

/** A mark that went back. */
export interface ReturnedMark {
  readonly name: string;
  readonly arrivedMs: number;
  readonly returnedMs: number;
  /** Whether a `clear` has sent it back, and nobody heard what was before it. On the wire that cannot be told. */
  readonly wasCleared: boolean;
}

/** What a `clear` has dropped. */
export interface ClearedAudio {
  readonly atMs: number;
  readonly droppedMs: number;
}

/** Something that the human said. */
export interface SaidAudio {
  /** When its first frame was due. */
  readonly atMs: number;
  readonly ms: number;
}

/** What a real carrier would have refused, with its number of the error. */
export interface CarrierRefusal {
  readonly atMs: number;
  /**
   * Twilio's: 31930 (it reads too slowly, and the caller's audio was dropped), 31931 (more than ten minutes to play),
   * 31950 (a binary message), 31951 (a message that it does not know).
   */
  readonly code: 31930 | 31931 | 31950 | 31951;
  readonly message: string;
}

/** How a call ended. */
export interface CallEnd {
  readonly atMs: number;
  /** `hung_up`: the human did. `closed`: the other side closed the socket. `refused`: it sent what a carrier refuses. */
  readonly why: 'closed' | 'hung_up' | 'refused';
  /** The close code and reason of the socket's other side; 1006: it was cut. */
  readonly code: number;
  readonly reason: string;
}

/** The truth about a call, as only the human's end knows it. */
export interface CallRecord {
  readonly callId: string;
  readonly streamId: string;
  readonly said: readonly SaidAudio[];
  /** In order; a silence between two is a gap. */
  readonly played: readonly PlayedAudio[];
  readonly marks: readonly ReturnedMark[];
  readonly clears: readonly ClearedAudio[];
  /** Frames of the human's that the link has lost: the time stamps jump over them. */
  readonly lostFrames: number;
  /** The most audio that was waiting to be played: a bridge's window, as it really is. */
  readonly maxBufferedMs: number;
  readonly refusals: readonly CarrierRefusal[];
  readonly end: CallEnd;
}

/** An interruption: the human began to speak while something was heard. */
export interface InterruptionFigures {
  readonly saidAtMs: number;
  /** From then until nothing of it was heard any more, or the call ended. */
  readonly quietAfterMs: number;
  /** Whether it was still heard when the call ended. */
  readonly isHeardToEnd: boolean;
}

/** How long the human waited for an answer. */
export interface AnswerFigures {
  readonly saidAtMs: number;
  /** From the end of what was said to the first sound that began after it. */
  readonly afterMs: number;
}

/** What a record comes to. */
export interface CallRecordFigures {
  readonly durationMs: number;
  readonly saidMs: number;
  readonly heardMs: number;
  /** From the beginning of the call to the first sound. `undefined`: there was none. */
  readonly firstHeardMs: number | undefined;
  /** Silences of 5 to 1,000 ms in what was heard: the ear had nothing to play, and it was no pause between answers. */
  readonly gaps: readonly { readonly atMs: number; readonly ms: number }[];
  readonly interruptions: readonly InterruptionFigures[];
  /** Of each thing that the human said and that was answered before the next one. */
  readonly answers: readonly AnswerFigures[];
}

/** A silence that is shorter is no gap that somebody hears, and one that is longer is a pause. */
const minGapMs = 5;
const maxGapMs = 1000;
/** Audio that comes so soon after other audio goes on with it, or is a rest of it that came too late. */
const samePieceMs = 200;

/** Counts what a record tells. */
export function figuresOf({ end, played, said }: CallRecord): CallRecordFigures {
  const audible = played.filter(({ isAudible }) => isAudible);
  const gaps = played.flatMap((piece, index) => {
    const before = played[index - 1];
    const atMs = before === undefined ? piece.atMs : before.atMs + before.ms;
    const ms = piece.atMs - atMs;
    return ms >= minGapMs && ms <= maxGapMs ? [{ atMs, ms }] : [];
  });
  const interruptions = said.flatMap(({ atMs }) => {
    const quietMs = quietAfter(audible, atMs);
    if (quietMs === undefined) return [];
    return [{ saidAtMs: atMs, quietAfterMs: quietMs - atMs, isHeardToEnd: quietMs > end.atMs - 1 }];
  });
  const answers = said.flatMap(({ atMs, ms }, index) => {
    const endMs = atMs + ms;
    const nextMs = said[index + 1]?.atMs ?? Infinity;
    const answer = audible.find((piece) => piece.atMs >= endMs && !goesOn(audible, piece));
    return answer === undefined || answer.atMs >= nextMs
      ? []
      : [{ saidAtMs: atMs, afterMs: answer.atMs - endMs }];
  });
  return {
    durationMs: end.atMs,
    saidMs: sum(said),
    heardMs: sum(audible),
    firstHeardMs: audible[0]?.atMs,
    gaps,
    interruptions,
    answers,
  };
}

/** When what was heard at a moment had ended; `undefined`: nothing was heard then. */
function quietAfter(audible: readonly PlayedAudio[], atMs: number): number | undefined {
  const first = audible.findIndex((piece) => piece.atMs <= atMs && piece.atMs + piece.ms > atMs);
  if (first === -1) return undefined;
  let endMs = atMs;
  for (const piece of audible.slice(first)) {
    if (piece.atMs - endMs > samePieceMs) break;
    endMs = piece.atMs + piece.ms;
  }
  return endMs;
}

/** Whether a piece goes on with the one before it. */
function goesOn(audible: readonly PlayedAudio[], piece: PlayedAudio): boolean {
  const before = audible[audible.indexOf(piece) - 1];
  return before !== undefined && piece.atMs - (before.atMs + before.ms) <= samePieceMs;
}

function sum(pieces: readonly { readonly ms: number }[]): number {
  return pieces.reduce((total, { ms }) => total + ms, 0);
}

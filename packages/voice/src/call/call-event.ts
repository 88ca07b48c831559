import type { AudioGap, HeardPart } from '@spillway/core/audio';
import type { CarrierCall } from '../carrier/carrier-leg.ts';
import type { StageName } from '../cascade/stage-figures.ts';
import type { ModelUsage, ResponseState } from '../model/model-leg.ts';
import type { EndedToolRun } from '../tools/tool-runs.ts';

/** Why a call ended. */
export type CallEndReason =
  /** The human hung up. */
  | 'hangup'
  /** The carrier's connection ended without a word, or it sent what is not allowed. */
  | 'carrier_lost'
  | 'carrier_refused'
  /** The model's connection ended, it was not ready in time, or its answers did not come, and there was no other session. */
  | 'model_failed'
  /** The ear confirmed nothing for longer than `stallTimeoutMs`, although it had audio. */
  | 'ear_stalled'
  | 'max_duration'
  /** `finish` was called: a limit is reached. */
  | 'limit'
  /** `close` was called. */
  | 'closed';

/** What happens in a call, in order. */
export type CallEvent =
  | { readonly kind: 'started'; readonly call: CarrierCall }
  /** The model takes audio. `waitedMs`: of the caller's audio that waited until then. */
  | { readonly kind: 'ready'; readonly waitedMs: number }
  /** The human said something, as the model understood it. */
  | { readonly kind: 'heard'; readonly text: string }
  /** The model said something. What was interrupted is not heard to its end: `interrupted` says how far. */
  | { readonly kind: 'said'; readonly itemId: string; readonly text: string }
  | {
      readonly kind: 'responseEnded';
      readonly state: ResponseState;
      readonly usage: ModelUsage | undefined;
    }
  /** What the model has used, beside what `responseEnded` says: some tell it later. */
  | { readonly kind: 'used'; readonly usage: ModelUsage }
  /**
   * An answer is heard: `thoughtMs` from the end of the human's speech, as the model said it, to the model's first audio;
   * `playedMs` from there until the ear confirmed that it played some of it. Not told where the ear had others to play first.
   */
  | { readonly kind: 'answered'; readonly thoughtMs: number; readonly playedMs: number }
  /** The model's session has failed, and another one is opened after `inMs`. `ready` follows. */
  | { readonly kind: 'reopening'; readonly code: string; readonly message: string; readonly inMs: number }
  /** A part of the answer was played to its end. */
  | { readonly kind: 'played'; readonly itemId: string }
  /**
   * The human spoke into the answer. What was heard of each part, as the model is told (`heardMs` of 0: the item is removed), what
   * was on its way to the ear and dropped there (at most), and what waited in the call and was never sent.
   */
  | {
      readonly kind: 'interrupted';
      readonly unheard: readonly HeardPart[];
      readonly sentMs: number;
      readonly waitingMs: number;
    }
  /** What the human did was a short noise: the answer goes on. */
  | { readonly kind: 'resumed'; readonly waitingMs: number }
  /** The answer was longer than may wait; `keptMs` of it will be heard. */
  | { readonly kind: 'cut'; readonly itemId: string; readonly keptMs: number }
  /** The model was late, and the human's audio was lost. */
  | ({ readonly kind: 'gap' } & AudioGap)
  /** The carrier's clock jumped: silence stands for what is missing. */
  | { readonly kind: 'missing'; readonly atMs: number; readonly ms: number }
  /** The ear had nothing to play in the middle of a part. */
  | { readonly kind: 'underrun'; readonly ms: number }
  | { readonly kind: 'digit'; readonly digit: string }
  | { readonly kind: 'toolCalled'; readonly callId: string; readonly name: string; readonly input: string }
  /** A request for a tool was answered. */
  | ({ readonly kind: 'toolEnded' } & EndedToolRun)
  /**
   * Audio has piled up in a socket, or no longer does: more than one window of it is out to the model without a sign that it
   * arrived, or the carrier's socket has not taken so much. Falls below half of that before it is told as over.
   */
  | {
      readonly kind: 'pressure';
      readonly at: 'carrier' | 'model';
      readonly ms: number;
      readonly isOver: boolean;
    }
  /** A stage of a cascade has the first result of what it was given; `waitedMs`: since it was due. */
  | { readonly kind: 'stageResult'; readonly stage: StageName; readonly waitedMs: number }
  /** A stage of a cascade has failed; `warned` says why. */
  | { readonly kind: 'stageFailed'; readonly stage: StageName; readonly code: string }
  /** The model said that something was wrong, and goes on. */
  | { readonly kind: 'warned'; readonly code: string; readonly message: string }
  | { readonly kind: 'ended'; readonly reason: CallEndReason; readonly detail: string };

import type { TokenUsage } from '@spillway/core/format/format';
import { objectOf, promptCountOf } from '@spillway/core/format/json-object';
import { promptTokens, textTokens } from '../limit/token-estimate.ts';
import { heardTokens, saidTokens, UnreportedAnswer } from '../limit/unreported-answer.ts';
import { ClientNames } from './client-names.ts';
import { eventNameOf } from './event-type.ts';

/** What an event of the provider has beside its text: names and ids. */
const freeBytes = 250;
/** A larger event is not read. */
const maxReadBytes = 1_048_576;
/** Bytes of Base64 in a second of sound: PCM of 24 kHz, and the G.711 of telephones. */
const pcmBytesPerSecond = 64_000;
const g711BytesPerSecond = 10_667;
/** What an `error` says that is about nothing but a request for an answer, whatever it names. */
const busyCode = 'conversation_already_has_active_response';
const g711Names = ['g711_', 'audio/pcma', 'audio/pcmu'];

/** Finds the answer of a realtime model that is under way in the messages of its conversation. */
export class OverheardAnswer {
  readonly #answer = new UnreportedAnswer();
  /** The sound that a human may be saying. It becomes a part of the conversation when it is over. */
  #heardMs = 0;
  /** An estimate of the tokens in what a human said last. */
  #heardTokens = 0;
  #soundBytesPerSecond = pcmBytesPerSecond;
  readonly #names = new ClientNames();
  /** Whether the client has sent an event without a name that asks for no answer. */
  #hasOtherNameless = false;
  /** Whether it has sent what nobody can tell the type or the name of. From then on an `error` may be about that. */
  #isUnclear = false;

  /** {@link UnreportedAnswer.lost} */
  get lost(): TokenUsage | undefined {
    return this.#answer.lost;
  }

  /** {@link UnreportedAnswer.usage} */
  get usage(): TokenUsage | undefined {
    return this.#answer.usage;
  }

  /** Looks at a message of the client. `type`: of the event. What cannot be told may be anything. */
  fromClient(bytes: Buffer, type: string | undefined): void {
    if (type === 'input_audio_buffer.append') this.#heardMs += this.#msOf(bytes);
    else this.#answer.joined(promptTokens([bytes]));
    const name = eventNameOf(bytes);
    // Two events of one name: a refusal of that name may be of either.
    const isTaken = typeof name === 'string' && this.#names.add(name);
    if (isTaken) this.#answer.unnamed(name);
    if (name === null || type === undefined) this.#isUnclear = true;
    if (type === 'response.create')
      this.#answer.asked(hasOwnPrompt(bytes), isTaken ? unclear : (name ?? undefined));
    else if (type === undefined) this.#answer.asked(true, unclear);
    else if (name === undefined) this.#hasOtherNameless = true;
  }

  /** Looks at a message of the provider, but for those that end an answer. */
  fromProvider(bytes: Buffer, type: string): void {
    switch (type) {
      case 'response.created':
        return this.#answer.began();
      case 'error':
        return this.#refused(bytes);
      case 'input_audio_buffer.committed':
        this.#heardTokens = heardTokens(this.#heardMs);
        this.#answer.joined(this.#heardTokens);
        this.#heardMs = 0;
        return;
      case 'input_audio_buffer.cleared':
      case 'input_audio_buffer.speech_started':
        // What came before was silence.
        this.#heardMs = 0;
        return;
      case 'session.created':
      case 'session.updated':
        this.#soundBytesPerSecond = g711Names.some((name) => bytes.includes(name))
          ? g711BytesPerSecond
          : pcmBytesPerSecond;
        return;
      default:
        if (!type.startsWith('response.') || !type.endsWith('.delta')) return;
        // Not all that speak this API say that one begins.
        if (!this.#answer.isMaking) this.#answer.began();
        this.#answer.said(
          type.endsWith('audio.delta')
            ? saidTokens(this.#msOf(bytes))
            : Math.max(1, textTokens(bytes.length - freeBytes)),
        );
    }
  }

  /** {@link UnreportedAnswer.ended} */
  ended(reported: TokenUsage | undefined, hasFailed: boolean): void {
    this.#answer.ended(reported, hasFailed);
  }

  /** The words of a human were written down, by a model that reports `usage` of it: each number that cannot be is estimated. */
  wrote({ inputTokens, outputTokens }: TokenUsage, words: string): void {
    this.#answer.missed({
      inputTokens: promptCountOf(inputTokens) === undefined ? this.#heardTokens : 0,
      outputTokens: (outputTokens ?? 0) > 0 ? 0 : textTokens(Buffer.byteLength(words)),
    });
  }

  /** An `error` gives an answer back that certainly was refused. It may as well be about any other event of the client. */
  #refused(bytes: Buffer): void {
    const { code, event_id: id } = objectOf(errorOf(bytes));
    const name = typeof id === 'string' && id !== '' ? id : undefined;
    if (code === busyCode && name === undefined) this.#answer.refused(name, true);
    else if (!this.#isUnclear && (name !== undefined || !this.#hasOtherNameless)) this.#answer.refused(name);
  }

  #msOf({ length }: Buffer): number {
    return (length * 1000) / this.#soundBytesPerSecond;
  }
}

/** Of a request whose name tells nothing: no refusal has it, and it is not one without a name. */
const unclear = '';

function errorOf(bytes: Buffer): unknown {
  if (bytes.length > maxReadBytes) return undefined;
  try {
    return objectOf(JSON.parse(bytes.toString('utf8')))['error'];
  } catch {
    return undefined;
  }
}

/** Whether an answer that is asked for is not made of the conversation: it has an input of its own, or stays outside. */
function hasOwnPrompt(bytes: Buffer): boolean {
  if (bytes.length > maxReadBytes) return true;
  try {
    const { response } = JSON.parse(bytes.toString('utf8')) as { readonly response?: object | null };
    return response !== undefined && response !== null && ('input' in response || 'conversation' in response);
  } catch {
    return true;
  }
}

import type { ConversationEvent } from '@spillway/core/format/conversation';
import type { TapRecord } from '@spillway/server/tap/tap-record';
import { shown } from './shown.ts';

/** Who is shown for a text that is kept without its event. */
const speakers: Readonly<Record<string, string>> = {
  heard: 'caller',
  said: 'model',
  tool_called: 'tool',
  tool_answered: 'result',
};

/** A line of a conversation: who, what, and what it is about. */
interface Line {
  readonly who: string;
  words: string;
  readonly item: string | undefined;
}

/** What two said to each other, as a play: joined from the records of its chunks. */
export class ConversationText {
  readonly #lines: Line[] = [];

  add({ bytes, data, text }: TapRecord & { kind: 'chunks' }): void {
    for (const [place, words] of Object.entries(text ?? {}))
      this.#say(speakers[place.replace(/^\d+\./, '')] ?? place, words);
    for (const event of eventsIn(data ?? '')) this.#event(event);
    if (data === undefined && text === undefined && bytes !== undefined)
      this.#say('-', `(${bytes} bytes that are not kept)`);
  }

  /** Each line, with who says it. */
  end(): readonly (readonly [who: string, words: string])[] {
    return this.#lines.map(({ who, words }) => [who, shown(words)]);
  }

  #event(event: ConversationEvent): void {
    switch (event.type) {
      case 'heard':
        this.#say('caller', event.text);
        return;
      case 'said':
        this.#say('model', event.text, event.item);
        return;
      case 'interrupted':
        this.#interrupt(event.item, event.heardMs, event.ofMs);
        return;
      case 'tool_called':
        this.#say('tool', `${event.name} ${event.input}`);
        return;
      case 'tool_answered':
        this.#say('result', event.output ?? event.outcome ?? '');
        return;
      case 'failed':
        this.#say('failed', `${event.code}: ${event.message}`);
        return;
      case 'audio':
        this.#sound(event.from === 'human' ? 'caller' : 'model');
        return;
      default:
    }
  }

  #say(who: string, words: string, item?: string): void {
    this.#lines.push({ who, words, item });
  }

  /** What was heard stands behind what was said, which may come later or never. */
  #interrupt(item: string, heardMs: number, ofMs: number | undefined): void {
    const of = ofMs === undefined ? '' : ` of ${count(ofMs)}`;
    const heard = `(heard ${count(heardMs)} ms${of})`;
    const said = this.#lines.findLast((line) => line.item === item);
    if (said === undefined) this.#say('model', heard, item);
    else said.words += ` ${heard}`;
  }

  /** Sound without end is one line. */
  #sound(who: string): void {
    const last = this.#lines.at(-1);
    if (last?.who !== who || last.words !== '(sound)') this.#say(who, '(sound)');
  }
}

function eventsIn(data: string): readonly ConversationEvent[] {
  return data.split('\n\n').flatMap((event) => {
    try {
      return [JSON.parse(event.replace(/^data: /, '')) as ConversationEvent];
    } catch {
      // Nothing, or a part of what is no event.
      return [];
    }
  });
}

function count(ms: number): string {
  return Math.round(ms).toLocaleString('en');
}

import type { AskedTool } from '../reasoner.ts';
import { StageError } from '../stage-error.ts';
import { who } from './text-model.ts';

/** The most tools that an answer may ask for, and the longest arguments of one, in characters. */
const maxTools = 64;
const maxInputLength = 65_536;

/** A piece of what an answer asks for. */
interface ToolPiece {
  /** Which tool of the answer: an API counts them, or its blocks. */
  readonly index: number;
  readonly id?: string | null | undefined;
  readonly name?: string | null | undefined;
  /** More of the arguments. */
  readonly input?: string | null | undefined;
}

/** The tools that an answer asks for, of which the arguments come bit by bit. */
export class AskedTools {
  readonly #calls = new Map<number, { id: string; name: string; input: string }>();

  /** How many there are. */
  get size(): number {
    return this.#calls.size;
  }

  /** Whether something came of that one. */
  has(index: number): boolean {
    return this.#calls.has(index);
  }

  take({ id, index, input, name }: ToolPiece): void {
    const call = this.#calls.get(index) ?? { id: '', name: '', input: '' };
    if (!this.#calls.has(index) && this.#calls.size === maxTools)
      throw new StageError('bad_message', `${who} asked for more than ${maxTools} tools at once.`);
    this.#calls.set(index, call);
    call.id ||= id ?? '';
    call.name ||= name ?? '';
    call.input += input ?? '';
    if (call.input.length > maxInputLength)
      throw new StageError(
        'bad_message',
        `${who} asked for a tool with more than ${maxInputLength} characters.`,
      );
  }

  /** All of them, when the answer is whole: then their arguments are, too. */
  whole(): readonly AskedTool[] {
    return [...this.#calls.values()].map(({ id, input, name }) => {
      if (id === '' || name === '')
        throw new StageError('bad_message', `${who} asked for a tool without an id or a name.`);
      return { callId: id, name, input: input === '' ? '{}' : input };
    });
  }
}

/** The arguments of a tool as an object, which some APIs want. Those that are none were never valid: nothing is left of them. */
export function argumentsOf({ input }: AskedTool): object {
  try {
    const read: unknown = JSON.parse(input);
    return typeof read === 'object' && read !== null && !Array.isArray(read) ? read : {};
  } catch {
    return {};
  }
}

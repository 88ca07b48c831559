import { SpillwayError } from '@spillway/core';

/**
 * The longest message in the program's log, in characters; `maxCauses` bounds how many causes of causes it
 * has.
 */
const maxMessageChars = 500;
const maxCauses = 3;

/** An error, as the program's log shows it. */
export interface ErrorReport {
  readonly type: string;
  readonly code: string | undefined;
  readonly message: string | undefined;
  /** The lines of the stack with places in code, without the message. */
  readonly stack: string | undefined;
  readonly cause: ErrorReport | undefined;
}

/**
 * An error for the program's log, without text of clients or providers. Of its properties only the code is
 * kept, and quotations are removed from messages that are not the gateway's own. JSON's parser and Node's
 * checks of arguments quote their input, which may be a prompt or a key.
 */
export function reportError(error: unknown, maxDepth = maxCauses): ErrorReport {
  if (!(error instanceof Error)) {
    return { type: typeof error, code: undefined, message: undefined, stack: undefined, cause: undefined };
  }
  const { cause, code, message, name, stack } = error as NodeJS.ErrnoException;
  return {
    type: name,
    code: typeof code === 'string' ? code : undefined,
    message: messageOf(error, message.slice(0, maxMessageChars)),
    stack: placesIn(stack ?? ''),
    cause: cause === undefined || maxDepth === 0 ? undefined : reportError(cause, maxDepth - 1),
  };
}

function messageOf(error: Error, message: string): string {
  if (error instanceof SpillwayError) return message;
  if (error instanceof SyntaxError) return 'something could not be parsed';
  // A short word in quotes is the name of a property, and is kept.
  return message.replaceAll(/(["'`]).*\1/gs, (quoted) => (/^.\w{1,24}.$/.test(quoted) ? quoted : '"…"'));
}

function placesIn(stack: string): string | undefined {
  const lines = stack.split('\n').filter((line) => /^ {4}at /.test(line));
  return lines.length === 0 ? undefined : lines.join('\n');
}

import type { FormatName } from '@spillway/core/format/format';
import type { LargeEvents } from '@spillway/server/limit/stream-limit';

/** How tokens of an answer are counted while it comes: by its events, and by the bytes beyond those that each has anyway. */
interface Ratio {
  readonly perEvent: number;
  /** The bytes of an event that say nothing: names, ids, braces. */
  readonly freeBytes: number;
  readonly bytesPerToken: number;
  /**
   * The most tokens that an event counts on the average: some bring results of a search, and no text. Large events,
   * which are more than one read brings (16 KiB), are not among them: each of these is looked at by itself.
   */
  readonly maxPerEvent: number;
  /** Stands at the beginning of a large event that brings text; others repeat the answer, or have what a tool has found. */
  readonly textMark?: string;
}

/**
 * By the project's fixtures and by streams that providers sent (docs/limits.md has the errors). Most providers with
 * OpenAI's formats send a token an event; Anthropic and Gemini send several.
 *
 * The estimate of paces looks at every byte, which costs an event half of what the gateway costs it in all, and is no nearer:
 * here the path of a chunk only adds numbers that it counts anyway.
 */
const ratios: Readonly<Record<FormatName, Ratio>> = {
  'openai-chat': { perEvent: 1, freeBytes: 400, bytesPerToken: 4, maxPerEvent: 32 },
  'openai-completions': { perEvent: 1, freeBytes: 400, bytesPerToken: 4, maxPerEvent: 32 },
  'openai-responses': { perEvent: 1, freeBytes: 400, bytesPerToken: 4, maxPerEvent: 32, textMark: '.delta"' },
  'anthropic-messages': {
    perEvent: 2.5,
    freeBytes: 150,
    bytesPerToken: 4,
    maxPerEvent: 8,
    textMark: '"content_block_delta"',
  },
  gemini: { perEvent: 3, freeBytes: 700, bytesPerToken: 4, maxPerEvent: 200 },
  conversation: { perEvent: 1, freeBytes: 400, bytesPerToken: 4, maxPerEvent: 32 },
};

/** The bytes at the beginning of a large event that say what it is. */
const headBytes = 256;
/** The most blocks that are looked at of one large event. */
const mostBlocks = 64;

/** An estimate of the tokens in so many events of an answer, which have so many bytes together, with the `large` among them. */
export function answerTokens(format: FormatName, events: number, bytes: number, large: LargeEvents): number {
  const { bytesPerToken, freeBytes, maxPerEvent, perEvent } = ratios[format];
  const small = events - large.events;
  const inText = Math.max(0, bytes - large.bytes - freeBytes * small) / bytesPerToken;
  return Math.ceil(large.tokens + small * perEvent + Math.min(inText, small * (maxPerEvent - perEvent)));
}

/**
 * An estimate of the tokens in one large event, by some blocks of it, however large it is: text of the answer counts as a
 * prompt's text does, and all pictures and sounds in it as one in a prompt.
 */
export function largeEventTokens(format: FormatName, event: Uint8Array): number {
  const { textMark } = ratios[format];
  const head = Buffer.from(event.subarray(0, headBytes)).toString('latin1');
  if (textMark !== undefined && !head.includes(textMark)) return 0;
  const stepBytes = Math.max(blockBytes, event.length / mostBlocks);
  let blocks = 0;
  let inBase64 = 0;
  // From the midst of each step: the first bytes of an event are JSON in any case.
  for (let at = stepBytes / 2; at + blockBytes <= event.length; at += stepBytes) {
    blocks += 1;
    if (lettersOf(event.subarray(at, at + blockBytes)) >= leastLetters) inBase64 += 1;
  }
  const textBytes = event.length * (1 - inBase64 / blocks);
  return textTokens(textBytes) + (inBase64 > 0 ? attachmentTokens : 0);
}

/** An estimate of the tokens in a text of so many bytes. */
export function textTokens(bytes: number): number {
  return Math.ceil(bytes / bytesPerTextToken);
}

const bytesPerTextToken = 4;
/** The bytes that are looked at together. Shorter pieces of Base64 count as text. */
const blockBytes = 1024;
/** A block of a picture has nearly all of the 64 letters. One with less of them is text without spaces, or counts as it. */
const leastLetters = 48;
/** What a picture, a sound or a file counts that stands in a request as text of its bytes. */
const attachmentTokens = 1000;

/**
 * An estimate of the tokens in a request that is JSON. Pictures and files inside of it, in Base64, count as 1000 tokens
 * each, whatever their size. All else is text.
 */
export function promptTokens(parts: readonly Uint8Array[]): number {
  let textBytes = 0;
  let attachments = 0;
  let isInside = false;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += blockBytes) {
      const block = part.subarray(at, at + blockBytes);
      const letters = lettersOf(block);
      const isAttachment: boolean =
        block.length < blockBytes ? isInside && letters > 0 : letters >= leastLetters;
      if (!isAttachment) textBytes += block.length;
      else if (!isInside) attachments += 1;
      isInside = isAttachment || (isInside && letters > 0);
    }
  }
  return textTokens(textBytes) + attachments * attachmentTokens;
}

/** Whether a body begins as JSON does, whatever it is called. Blanks and a byte order mark may stand before it. */
export function beginsAsJson(parts: readonly Uint8Array[]): boolean {
  for (const part of parts)
    for (const byte of part) if (!beforeJson.has(byte)) return byte === openBrace || byte === openBracket;
  return false;
}

const openBrace = 0x7b;
const openBracket = 0x5b;
const beforeJson = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf]);

/** How many letters a block has that is nothing but Base64; 0: it is text, which leaves within a word, with its first space. */
function lettersOf(block: Uint8Array): number {
  const seen = new Uint8Array(256);
  let letters = 0;
  for (const byte of block) {
    if (base64Letters[byte] === 0) return 0;
    if (seen[byte] === 0) letters += 1;
    seen[byte] = 1;
  }
  return letters;
}

/** With the backslash that some JSON has before a slash or between lines. */
const base64Letters = new Uint8Array(256);
for (const byte of Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\'))
  base64Letters[byte] = 1;

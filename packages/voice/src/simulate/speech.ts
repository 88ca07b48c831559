import { readFileSync } from 'node:fs';

/** The clips that come with this package, and what is said in each: the texts of `speech/make.sh`. */
const texts = {
  'model-greeting': 'Hello, this is the city library. How can I help you?',
  'model-hours':
    'We are open from nine in the morning until six in the evening, Monday to Friday. On Saturday we close at one.',
  'model-book':
    'Yes, we have that book. It is on the second floor. I can keep it for you until Friday evening, if you tell me your name.',
  'model-events':
    'There are three events this month. On the fifth, a reading for children. On the twelfth, a talk about the history of the telephone. And on the last Sunday of the month, our garden concert, which begins at four in the afternoon and ends when it gets dark.',
  'model-moment': 'One moment please, I am looking that up.',
  'model-failure': 'I am sorry, something went wrong here. Please call again in a few minutes.',
  'caller-hello': 'Hello, when are you open?',
  'caller-question': 'What events do you have this month?',
  'caller-interruption': 'Wait, stop. I only have one question.',
  'caller-goodbye': 'Thank you, that was all. Goodbye.',
} as const;

/** The name of a clip: who speaks, and what about. */
export type SpeechName = keyof typeof texts;

/** The names of all clips. */
export const speechNames = Object.keys(texts) as readonly SpeechName[];

/** Some words, as text and as sound. */
export interface Speech {
  /** What is said. */
  readonly text: string;
  /** How it sounds: `telephoneAudio`, without a header. Not to be changed. */
  readonly audio: Uint8Array;
}

const read = new Map<SpeechName, Speech>();

/**
 * Real words for tests and trials: one of the clips that come with this package, from 1.7 to 13.7 s long. Its file is read
 * at the first call, which waits for the disk; later calls return the same object.
 *
 * @example
 * ```ts
 * const { audio, text } = speech('caller-hello'); // 'Hello, when are you open?'
 * ```
 */
export function speech(name: SpeechName): Speech {
  const known = read.get(name);
  if (known !== undefined) return known;
  // The folder lies as deep below the source as below what was built from it.
  const audio = readFileSync(new URL(`../../speech/${name}.ulaw`, import.meta.url));
  const clip = { text: texts[name], audio };
  read.set(name, clip);
  return clip;
}

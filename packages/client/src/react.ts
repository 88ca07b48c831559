import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { createPacedText, type PacedSnapshot, type PacedText } from './paced-text.ts';

export type { OpenSource, PacedSource, PacedState } from './paced-text.ts';
export type { StreamLag } from './stream-reader.ts';

/** How `useStream` shows the items of a source. */
export interface UseStreamOptions<Item> {
  /** Returns the text of an item; empty if the item has none. */
  readonly toText: (item: Item) => string;
  /**
   * Called for the last item of each frame when all items up to it are on the screen: here a reader can be
   * acknowledged.
   */
  readonly onPainted?: (item: Item) => void;
}

/** The text so far, its state, and the functions that start and stop it. `start` and `stop` stay the same functions. */
export interface UseStreamResult<Item> extends PacedSnapshot, Pick<PacedText<Item>, 'start' | 'stop'> {}

/**
 * Shows the text of a stream as it comes, rendering once a frame however many tokens there are. A slow page takes fewer
 * chunks; the other chunks wait in the gateway, merged. So the page is never behind by more than a frame.
 *
 * A source is anything that can be iterated: the stream of an SDK whose `fetch` is Spillway's, or a reader. `start`
 * takes the function that opens the source. That function gets a signal to pass on, which is aborted by `stop`, by the
 * next `start` and when the component unmounts. The `leave` option of the stream says whether an abort stops the model.
 *
 * @example
 * ```tsx
 * import OpenAI from 'openai';
 *
 * // In a page: elsewhere '/' is no address.
 * const openai = new OpenAI({ apiKey: 'none', dangerouslyAllowBrowser: true, fetch: createFetch({ url: '/' }) });
 *
 * function Answer({ messages }: { messages: OpenAI.ChatCompletionMessageParam[] }) {
 *   const { text, state, start, stop } = useStream({
 *     toText: (event: OpenAI.ChatCompletionChunk) => event.choices[0]?.delta.content ?? '',
 *   });
 *   const ask = () =>
 *     start((signal) => openai.chat.completions.create({ model: 'gpt-5', messages, stream: true }, { signal }));
 *   return <p>{text} {state === 'streaming' ? <button onClick={stop}>Stop</button> : <button onClick={ask}>Ask</button>}</p>;
 * }
 * ```
 * @example
 * ```tsx
 * // Strings need no `toText`.
 * const { text, start } = useStream();
 * start(() => tokens());
 * ```
 */
export function useStream(options?: Partial<UseStreamOptions<string>>): UseStreamResult<string>;
export function useStream<Item>(options: UseStreamOptions<Item>): UseStreamResult<Item>;
export function useStream<Item>(options: Partial<UseStreamOptions<Item>> = {}): UseStreamResult<Item> {
  // The functions of the last render, so that new functions do not start the source anew.
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  const [paced] = useState(() =>
    createPacedText<Item>({
      toText: (item) => latest.current.toText?.(item) ?? String(item),
      onPainted: (item) => latest.current.onPainted?.(item),
    }),
  );
  // StrictMode runs this cleanup once too early, when nothing was started yet. `start` still works afterwards.
  useEffect(() => paced.dispose, [paced]);
  const snapshot = useSyncExternalStore(paced.subscribe, paced.getSnapshot, paced.getSnapshot);
  return { ...snapshot, start: paced.start, stop: paced.stop };
}

/** React: one render a frame, however many tokens there are. */
import { createFetch } from '@spillway/client';
import { useStream } from '@spillway/client/react';
import OpenAI from 'openai';
import { type JSX, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { gatewayUrl, model as initialModel } from './page.ts';

const openai = new OpenAI({
  apiKey: 'none',
  baseURL: `${gatewayUrl}/v1`,
  dangerouslyAllowBrowser: true,
  maxRetries: 0,
  fetch: createFetch({ url: gatewayUrl }),
});

function Answer(): JSX.Element {
  const [model, setModel] = useState(initialModel);
  const { error, start, state, stop, text } = useStream({
    toText: (event: OpenAI.Chat.ChatCompletionChunk) => event.choices[0]?.delta.content ?? '',
  });
  const ask = (): void =>
    start((signal) => openai.chat.completions.create({ model, stream: true, messages: [] }, { signal }));
  return (
    <>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          ask();
        }}
      >
        <input aria-label="Model" value={model} onChange={(event) => setModel(event.target.value)} />
        <button>Start</button>
        <button type="button" onClick={stop}>
          Stop
        </button>
      </form>
      <p id="status" role="status">
        {state}
        {error instanceof Error ? `: ${error.message}` : ''}
      </p>
      <p id="text">{text}</p>
    </>
  );
}

const root = document.getElementById('root');
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <Answer />
    </StrictMode>,
  );
}

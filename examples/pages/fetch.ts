/** The official SDK: all that is different is its `fetch`. */
import { createFetch } from '@spillway/client';
import OpenAI from 'openai';
import { gatewayUrl, model, openPage } from './page.ts';

const page = openPage();
page.input.value = model;

const openai = new OpenAI({
  apiKey: 'none',
  baseURL: `${gatewayUrl}/v1`,
  dangerouslyAllowBrowser: true,
  maxRetries: 0,
  fetch: createFetch({ url: gatewayUrl, onEvent: ({ type }) => page.say(type) }),
});

page.onStart(async (signal) => {
  const stream = await openai.chat.completions.create(
    { model: page.input.value, stream: true, messages: [{ role: 'user', content: 'Hello' }] },
    { signal },
  );
  let text = '';
  for await (const event of stream) {
    text += event.choices[0]?.delta.content ?? '';
    page.show(text);
  }
  page.say(signal.aborted ? 'stopped' : 'done');
});

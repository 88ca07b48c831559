/**
 * Below `fetch`: what was shown is what is acknowledged. A page that is slow, or that nobody looks at, is waited
 * for by the gateway, which merges meanwhile.
 */
import { openClient } from '@spillway/client';
import { gatewayUrl, model, openPage } from './page.ts';

const page = openPage();
page.input.value = model;
const client = openClient({ url: gatewayUrl });

page.onStart(async (signal) => {
  const reader = client.request('/v1/chat/completions', {
    body: JSON.stringify({ model: page.input.value, stream: true, messages: [] }),
    signal,
  });
  const { url } = await reader.response;
  history.replaceState(null, '', `?${new URLSearchParams({ gateway: gatewayUrl, stream: url }).toString()}`);
  reader.onEvent((event) => {
    if (event.type === 'stalled' || event.type === 'resumed') page.say(event.type);
  });
  const decoder = new TextDecoder();
  let text = '';
  for await (const item of reader) {
    if (item.type === 'chunk') text += textOf(decoder.decode(item.bytes));
    page.show(text);
    // Nobody sees it before.
    await new Promise((resolve) => requestAnimationFrame(resolve));
    reader.ack(item.to);
    page.say(`${reader.lag.items} chunks wait, ${reader.credit} bytes may come`);
  }
  page.say('done');
});

/** The text of whole events. A format of `@spillway/core` or an SDK would do, too. */
function textOf(events: string): string {
  let text = '';
  for (const line of events.split('\n')) {
    if (!line.startsWith('data: {')) continue;
    const { choices } = JSON.parse(line.slice(6)) as {
      choices: readonly { readonly delta: { readonly content?: string } }[];
    };
    text += choices[0]?.delta.content ?? '';
  }
  return text;
}

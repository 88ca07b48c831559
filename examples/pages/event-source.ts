/** A second reader, in another tab or on another device: no library at all. */
import { gatewayUrl, openPage } from './page.ts';

const page = openPage();
page.input.value = new URLSearchParams(location.search).get('stream') ?? '';
page.input.placeholder = 'The Content-Location of a streamed response: /streams/…';

page.onStart((signal) => {
  const source = new EventSource(new URL(page.input.value, gatewayUrl));
  let text = '';
  // It comes back by itself, behind the last event that it got.
  source.addEventListener('error', () =>
    page.say(source.readyState === EventSource.CLOSED ? 'closed' : 'stalled'),
  );
  source.addEventListener('message', ({ data }: MessageEvent<string>) => {
    if (data === '[DONE]') {
      page.say('done');
      source.close();
      return;
    }
    const { choices } = JSON.parse(data) as {
      choices: readonly { readonly delta: { readonly content?: string } }[];
    };
    text += choices[0]?.delta.content ?? '';
    page.show(text);
  });
  signal.addEventListener('abort', () => source.close(), { once: true });
  return Promise.resolve();
});

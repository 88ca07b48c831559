// Streams with the client's fetch and prints, a line each, what happens and when, in milliseconds since 1970.
import { createFetch } from '../../../client/src/index.ts';

const [url = '', model = ''] = process.argv.slice(2);
const say = (line: object): void => {
  process.stdout.write(`${JSON.stringify({ atMs: performance.timeOrigin + performance.now(), ...line })}\n`);
};

const fetch = createFetch({ url, onEvent: (event) => say({ event: event.type }) });
const response = await fetch(`${url}/v1/chat/completions`, {
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: 'Bearer key' },
  body: JSON.stringify({ model, stream: true, messages: [] }),
});
let rest = '';
let text = '';
for await (const bytes of (response.body ?? []) as AsyncIterable<Uint8Array>) {
  const lines = (rest + Buffer.from(bytes).toString()).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) {
    if (!line.startsWith('data: {')) continue;
    const { choices } = JSON.parse(line.slice(6)) as {
      choices: readonly { readonly delta: { readonly content?: string | null } }[];
    };
    text += choices[0]?.delta.content ?? '';
  }
  say({ characters: text.length, bytes: bytes.length });
}
say({ text });

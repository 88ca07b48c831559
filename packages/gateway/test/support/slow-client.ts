// Reads a streamed reply and prints when each character of its text arrived, in milliseconds since 1970.
import { request } from 'node:http';

const [url = '', model = ''] = process.argv.slice(2);
const headers = { 'content-type': 'application/json', authorization: 'Bearer key' };
const arrivals: { readonly atMs: number; readonly characters: number }[] = [];
let characters = 0;
let rest = '';
// Without keep-alive the socket is this reply's, and its count of bytes with it.
const outgoing = request(`${url}/v1/chat/completions`, { method: 'POST', headers, agent: false }, (reply) => {
  const { socket } = reply;
  reply.setEncoding('utf8');
  reply.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('data: {')) continue;
      const { choices } = JSON.parse(line.slice(6)) as {
        choices: readonly { readonly delta: { readonly content?: string | null } }[];
      };
      characters += choices[0]?.delta.content?.length ?? 0;
    }
    arrivals.push({ atMs: performance.timeOrigin + performance.now(), characters });
  });
  reply.on('end', () => {
    process.stdout.write(JSON.stringify({ arrivals, bytes: socket.bytesRead }));
  });
});
outgoing.end(JSON.stringify({ model, stream: true, messages: [] }));

// Reads a streamed reply and prints when each character of its text arrived, in milliseconds since 1970, and the text.
// Chat completions, or the event stream that the AI SDK makes of them.
import { request } from 'node:http';

const [url = '', model = '', more = '{}'] = process.argv.slice(2);
const headers = {
  'content-type': 'application/json',
  authorization: 'Bearer key',
  ...(JSON.parse(more) as Record<string, string>),
};
const arrivals: { readonly atMs: number; readonly characters: number }[] = [];
let all = '';
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
      const { choices, delta, type } = JSON.parse(line.slice(6)) as {
        choices?: readonly { readonly delta: { readonly content?: string | null } }[];
        type?: string;
        delta?: string;
      };
      all += choices?.[0]?.delta.content ?? (type === 'text-delta' ? delta : undefined) ?? '';
    }
    arrivals.push({ atMs: performance.timeOrigin + performance.now(), characters: all.length });
  });
  reply.on('end', () => {
    process.stdout.write(JSON.stringify({ arrivals, bytes: socket.bytesRead, text: all }));
  });
});
outgoing.end(JSON.stringify({ model, stream: true, messages: [] }));

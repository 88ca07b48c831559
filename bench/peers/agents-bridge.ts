// The bridge of OpenAI's agents for Twilio, as its documentation has it.
import type { AddressInfo } from 'node:net';
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { TwilioRealtimeTransportLayer } from '@openai/agents-extensions';
import { WebSocketServer } from 'ws';

const [url = ''] = process.argv.slice(2);
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', (twilioWebSocket) => {
  const transport = new TwilioRealtimeTransportLayer({ twilioWebSocket, url });
  const agent = new RealtimeAgent({ name: 'library', instructions: 'You answer for a library.' });
  const session = new RealtimeSession(agent, {
    transport,
    model: 'gpt-realtime-2',
    tracingDisabled: true,
    config: { audio: { output: { voice: 'marin' } } },
  });
  // What goes wrong is seen by its figures, and an error without a listener would end the program.
  session.on('error', () => undefined);
  twilioWebSocket.on('close', () => session.close());
  session.connect({ apiKey: 'none' }).then(
    () => transport.sendEvent({ type: 'response.create' }),
    (error: unknown) => console.error(error),
  );
});
server.on('listening', () => {
  console.log(`listening on ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

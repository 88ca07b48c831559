import { expect, onTestFinished, test } from 'vitest';
import { TwilioRealtimeTransportLayer } from '@openai/agents-extensions';
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { placeCall } from '../../src/simulate/carrier/index.ts';
import { serveSimulatedModels, type SimulatedModel } from '../../src/simulate/model/index.ts';
import { speech } from '../../src/simulate/speech.ts';
import { ended, openCarrierServer } from '../support/carrier-server.ts';

test("the bridge of OpenAI's agents joins both doubles: neither refuses anything, and an interruption is heard", async () => {
  const opened = Promise.withResolvers<SimulatedModel>();
  const models = await serveSimulatedModels({ thinkMs: 100, onSession: opened.resolve });
  onTestFinished(() => models.close());
  const errors: unknown[] = [];
  const { url } = await openCarrierServer((twilioWebSocket) => {
    const transport = new TwilioRealtimeTransportLayer({
      twilioWebSocket,
      url: `${models.url}?model=gpt-realtime-2`,
    });
    const agent = new RealtimeAgent({ name: 'library', instructions: 'You answer for a library.' });
    const session = new RealtimeSession(agent, {
      transport,
      model: 'gpt-realtime-2',
      tracingDisabled: true,
      config: { audio: { output: { voice: 'marin' } } },
    });
    session.on('error', (error) => errors.push(error));
    twilioWebSocket.on('close', () => session.close());
    session.connect({ apiKey: 'none' }).then(
      () => transport.sendEvent({ type: 'response.create' }),
      (error: unknown) => errors.push(error),
    );
  });
  const call = await placeCall(url);
  expect(await call.whenHeard(1500, 20_000)).toBe(true);
  call.say(speech('caller-interruption').audio);
  await call.whenSaid();
  const beforeMs = call.heardMs;
  expect(await call.whenHeard(beforeMs + 1000, 20_000)).toBe(true);
  call.hangUp();
  const record = await ended(call);
  const { truth } = await opened.promise;
  expect(errors).toEqual([]);
  expect(record.refusals).toEqual([]);
  expect(truth.refusals).toEqual([]);
  expect(record.clears.length).toBeGreaterThanOrEqual(1);
  // How much of it was heard is the bench's to measure.
  expect(truth.truncations).toHaveLength(1);
  expect(truth.settings.audio.output.format).toEqual({ type: 'audio/pcmu' });
});

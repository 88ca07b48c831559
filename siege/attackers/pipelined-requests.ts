import { type Assault, chat, request } from '../assault.ts';

/** Sends requests one behind the other without waiting for an answer, and reads none. */
export function pipelinedRequests(assault: Assault): void {
  const { host } = assault;
  const cheap = request('GET', '/health/live', { host }).repeat(200);
  const refused = request('GET', '/v1/models', { host }).repeat(200);
  const streams = chat(assault, 'sim:tps=0,ttft=0,tokens=20').repeat(20);
  let count = 0;
  assault.keep(12, 6, () => {
    count += 1;
    const bytes = [cheap, refused, streams][count % 3] ?? '';
    const socket = assault.connect();
    assault.pump(socket, 2, () => bytes);
    return socket;
  });
}

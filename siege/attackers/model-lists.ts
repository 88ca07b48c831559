import { type Assault, request } from '../assault.ts';

/** Asks for the list of models by the hundred, of which one provider never sends its own, and leaves. */
export function modelLists(assault: Assault): void {
  const { host, target } = assault;
  const ask = request('GET', '/v1/models', { host, authorization: `Bearer ${target.key}` });
  assault.every(120, () => {
    const socket = assault.connect(ask);
    setTimeout(() => assault.drop(socket), 300);
  });
}

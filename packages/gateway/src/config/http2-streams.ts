import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Duplex } from 'node:stream';

/** Where Node tells of each stream that a client of HTTP/2 opens. */
export const openedStreams = 'http2.client.stream.created';

/**
 * Whether this Node does so: 22.19 and 24.1 do, 23 and 24.0 do not. Without it nobody could say of a body over HTTP/2 whether it is
 * whole. Tried out with a stream that leads nowhere.
 */
export function tellsOfStreams(): boolean {
  // Loaded only where somebody asks for it.
  const { connect } = process.getBuiltinModule('node:http2');
  let isTold = false;
  const onOpened = (): void => {
    isTold = true;
  };
  subscribe(openedStreams, onOpened);
  const nowhere = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  const session = connect('http://localhost', { createConnection: () => nowhere });
  session.on('error', () => undefined);
  session.request().on('error', () => undefined);
  session.destroy();
  unsubscribe(openedStreams, onOpened);
  return isTold;
}

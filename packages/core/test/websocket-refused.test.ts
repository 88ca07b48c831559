import { expect, test } from 'vitest';
import { fromWebSocket, type PausableWebSocket } from '../src/source/websocket.ts';

// Also in Chromium: its socket cannot be paused, and neither can Node's own.
test('a socket that cannot be paused is refused, and the message says which can', () => {
  const socket = new WebSocket('ws://127.0.0.1:9');
  socket.addEventListener('error', () => undefined);
  try {
    expect(() => fromWebSocket(socket as unknown as PausableWebSocket)).toThrow(
      expect.objectContaining({
        code: 'invalid_option',
        message:
          'socket: expected a WebSocket of the package ws, got an object without pause, resume, terminate, on, off: one that cannot be paused, as the socket of a browser, would fill the memory.',
      }),
    );
  } finally {
    socket.close();
  }
});

test.each([
  [undefined, 'got undefined'],
  [null, 'got null'],
  ['wss://example.com', 'got wss://example.com'],
])('%s is no socket', (socket, message) => {
  expect(() => fromWebSocket(socket as unknown as PausableWebSocket)).toThrow(message);
});

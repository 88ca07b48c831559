export { type Client, openClient } from './client.ts';
export type { ClientEvent } from './client-event.ts';
export type { ClientOptions } from './client-options.ts';
export type { WebSocketConstructor, WebSocketLike } from './connection.ts';
export { ClientError, type ClientErrorCode } from './errors.ts';
export { createFetch, type FetchOptions } from './fetch.ts';
export type { StreamReadInit, StreamRequestInit } from './reader-init.ts';
export type { SpillwayFetch } from './session-fetch.ts';
export type {
  StreamChunk,
  StreamEvent,
  StreamGap,
  StreamHead,
  StreamItem,
  StreamLag,
  StreamReader,
} from './stream-reader.ts';

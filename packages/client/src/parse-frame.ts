import type { GatewayFrame } from '@spillway/core/session';

// More characters than any control frame needs. A longer frame may be meant to fill the memory.
const maxFrameChars = 1_048_576;

type Check = (value: unknown) => boolean;
const text: Check = (value) => typeof value === 'string';
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const state: Check = (value) => value === 'completed' || value === 'failed' || value === 'cancelled';
const headers: Check = (value) =>
  typeof value === 'object' && value !== null && Object.values(value).every((one) => text(one));

const shapes: Readonly<Record<GatewayFrame['type'], Readonly<Record<string, Check>>>> = {
  open: { maxStreams: count, maxMessageBytes: count, session: (value) => value === undefined || text(value) },
  response: { stream: count, url: text, status: count, headers },
  gap: { stream: count, from: count, to: count, bytes: count, reason: text },
  lag: { stream: count, items: count, bytes: count },
  end: { stream: count, state, reason: (value) => value === undefined || text(value) },
  error: { stream: count, code: text, message: text, offset: count },
  pong: {},
};

/** Parses a control frame; `undefined` if the message is none. Unknown fields are ignored. */
export function parseFrame(message: string): GatewayFrame | undefined {
  if (message.length > maxFrameChars) return undefined;
  let frame: unknown;
  try {
    frame = JSON.parse(message);
  } catch {
    return undefined;
  }
  if (typeof frame !== 'object' || frame === null) return undefined;
  const fields = frame as Readonly<Record<string, unknown>>;
  const type = fields['type'];
  if (typeof type !== 'string' || !Object.hasOwn(shapes, type)) return undefined;
  const shape = shapes[type as GatewayFrame['type']];
  const fits = Object.entries(shape).every(([name, check]) => check(fields[name]));
  return fits ? (frame as GatewayFrame) : undefined;
}

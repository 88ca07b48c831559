/** Those who are due within the same time are called together. */
const slotMs = 5;

const slots = new Map<number, (() => void)[]>();

/**
 * Calls back after that time or up to 5 ms later, together with all others of that moment: one timer for a thousand streams.
 * Cannot be cancelled, so a callback has to look whether it is still wanted. It must not throw; if it does, the others are called all the same.
 */
export function soon(delayMs: number, callback: () => void): void {
  const nowMs = performance.now();
  const slot = Math.ceil((nowMs + delayMs) / slotMs);
  const others = slots.get(slot);
  if (others !== undefined) {
    others.push(callback);
    return;
  }
  const callbacks = [callback];
  slots.set(slot, callbacks);
  setTimeout(
    () => {
      slots.delete(slot);
      callAll(callbacks);
    },
    slot * slotMs - nowMs,
  );
}

function callAll(callbacks: readonly (() => void)[], from = 0): void {
  let at = from;
  try {
    while (at < callbacks.length) callbacks[at++]?.();
  } finally {
    if (at < callbacks.length) setImmediate(callAll, callbacks, at);
  }
}

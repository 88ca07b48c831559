/**
 * Calls back when the network or the page comes back: a phone that was in a pocket should not wait for a timer.
 * Returns the function that stops it. Where there are no such events, as in Node, it does nothing.
 */
export function onWake(listener: () => void): () => void {
  const onVisible = (): void => {
    if (!isHidden()) listener();
  };
  const page = typeof document === 'undefined' ? undefined : document;
  const scope = typeof addEventListener === 'undefined' ? undefined : globalThis;
  scope?.addEventListener('online', listener);
  page?.addEventListener('visibilitychange', onVisible);
  return () => {
    scope?.removeEventListener('online', listener);
    page?.removeEventListener('visibilitychange', onVisible);
  };
}

/** Whether this is a page that nobody sees. Its timers may run once a minute only. */
export function isHidden(): boolean {
  return typeof document !== 'undefined' && document.visibilityState === 'hidden';
}

/**
 * Calls back when the network or the page comes back: a phone that was in a pocket should not wait for a timer. Returns
 * the function that removes the listeners. Where there are no such events, as in Node, nothing is called.
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

/** Whether the page is hidden. The timers of a hidden page may run only once a minute. */
export function isHidden(): boolean {
  return typeof document !== 'undefined' && document.visibilityState === 'hidden';
}

import { useEffect, useState } from 'preact/hooks';

/** A phone; the style sheet has the same figure. */
export const narrowQuery = '(max-width: 760px)';

/** Whether a media query holds, as that changes. */
export function useMedia(query: string): boolean {
  const [isTrue, setTrue] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const onChange = (): void => setTrue(list.matches);
    list.addEventListener('change', onChange);
    return () => list.removeEventListener('change', onChange);
  }, [query]);
  return isTrue;
}

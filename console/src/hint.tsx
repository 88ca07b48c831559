import type { ComponentChildren, JSX } from 'preact';
import { useId } from 'preact/hooks';

/**
 * A word with its meaning: shown below a pointer that rests on it, while it has the focus, and after a touch. What it
 * says is read out with it.
 */
export function Hint({
  text,
  onClick,
  children,
}: {
  readonly text: string;
  readonly onClick?: () => void;
  readonly children: ComponentChildren;
}): JSX.Element {
  const id = useId();
  return (
    <span class="hint-box">
      <button type="button" class="hint-word" aria-describedby={id} onClick={onClick}>
        {children}
      </button>
      <span id={id} class="tip" role="tooltip">
        {text}
      </span>
    </span>
  );
}

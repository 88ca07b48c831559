import type { ComponentChildren, JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';

/** A button for what cannot be undone: it asks first, and says what became of it. */
export function ActionButton({
  label,
  question,
  isDangerous = true,
  isDisabled = false,
  act,
  children,
}: {
  readonly label: string;
  readonly question: string;
  readonly isDangerous?: boolean;
  /** Nobody would hear of it: the gateway is not connected. */
  readonly isDisabled?: boolean;
  readonly act: () => Promise<void>;
  /** What will happen. */
  readonly children: ComponentChildren;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isActing, setActing] = useState(false);
  const [problem, setProblem] = useState('');
  const close = (): void => dialog.current?.close();
  const confirm = (): void => {
    setActing(true);
    setProblem('');
    act()
      .then(close, (error: unknown) => setProblem(error instanceof Error ? error.message : String(error)))
      .finally(() => setActing(false));
  };
  return (
    <>
      <button
        type="button"
        class={isDangerous ? 'plain danger' : 'plain'}
        disabled={isDisabled}
        onClick={() => {
          setProblem('');
          dialog.current?.showModal();
        }}
      >
        {label}
      </button>
      <dialog ref={dialog} aria-label={question} class="confirm">
        <h2>{question}</h2>
        <div class="confirm-text">{children}</div>
        <p role="alert" class="problem">
          {problem}
        </p>
        <div class="actions">
          {/* The first one has the focus. */}
          <button type="button" class="plain" onClick={close}>
            No
          </button>
          <button
            type="button"
            class={isDangerous ? 'primary danger' : 'primary'}
            disabled={isActing}
            onClick={confirm}
          >
            {label}
          </button>
        </div>
      </dialog>
    </>
  );
}

import type { JSX } from 'preact';
import { useId } from 'preact/hooks';

/** A slider over steps that are not evenly apart. */
export function StepSlider({
  label,
  steps,
  value,
  text,
  isDisabled = false,
  onValue,
}: {
  readonly label: string;
  readonly steps: readonly number[];
  readonly value: number;
  readonly text: (value: number) => string;
  readonly isDisabled?: boolean;
  readonly onValue: (value: number) => void;
}): JSX.Element {
  const id = useId();
  const said = text(value);
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <output for={id}>{said}</output>
      <input
        id={id}
        type="range"
        min={0}
        max={steps.length - 1}
        step={1}
        value={Math.max(0, steps.indexOf(value))}
        aria-valuetext={said}
        disabled={isDisabled}
        onInput={({ currentTarget }) => onValue(steps[Number(currentTarget.value)] ?? value)}
      />
    </div>
  );
}

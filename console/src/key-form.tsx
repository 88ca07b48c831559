import type { JSX } from 'preact';
import { useState } from 'preact/hooks';

/** Asks for one of the gateway's keys. */
export function KeyForm({
  wasRefused,
  onKey,
}: {
  readonly wasRefused: boolean;
  readonly onKey: (key: string) => void;
}): JSX.Element {
  const [key, setKey] = useState('');
  return (
    <form
      class="key-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (key.trim() !== '') onKey(key.trim());
      }}
    >
      <h1>This gateway wants a key</h1>
      <p>
        One of the keys of those who run it, which are in the environment variable{' '}
        <code>SPILLWAY_ADMIN_KEYS</code>, or in the one that <code>adminKeysEnv</code> names. The page keeps
        it until this tab is closed.
      </p>
      <label>
        Key
        <input
          type="password"
          autocomplete="off"
          value={key}
          aria-invalid={wasRefused}
          aria-describedby="key-problem"
          onInput={({ currentTarget }) => setKey(currentTarget.value)}
        />
      </label>
      <p id="key-problem" role="alert">
        {wasRefused &&
          'The gateway does not know this key. Keys of clients (SPILLWAY_API_KEYS) do not open the console.'}
      </p>
      <button type="submit" class="primary">
        Open the console
      </button>
    </form>
  );
}

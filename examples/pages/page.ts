/** Where the gateway is: `?gateway=…`. */
export const gatewayUrl = new URLSearchParams(location.search).get('gateway') ?? 'http://127.0.0.1:8080';

/** What is asked: `?model=…`. */
export const model = new URLSearchParams(location.search).get('model') ?? 'simulated/sim:tokens=600,tps=40';

/** The parts that all pages have. */
export interface Page {
  readonly input: HTMLInputElement;
  show(text: string): void;
  say(status: string): void;
  /** Calls back for each start, with the signal of the button that stops it. */
  onStart(start: (signal: AbortSignal) => Promise<void>): void;
}

export function openPage(): Page {
  const input = find('input', HTMLInputElement);
  const text = find('text', HTMLElement);
  const status = find('status', HTMLElement);
  let running = new AbortController();
  find('stop', HTMLButtonElement).addEventListener('click', () => running.abort());
  return {
    input,
    show: (shown) => (text.textContent = shown),
    say: (said) => (status.textContent = said),
    onStart(start) {
      find('form', HTMLFormElement).addEventListener('submit', (event) => {
        event.preventDefault();
        running.abort();
        running = new AbortController();
        const { signal } = running;
        start(signal).catch((error: unknown) => {
          status.textContent = signal.aborted ? 'stopped' : `failed: ${String(error)}`;
        });
      });
    },
  };
}

function find<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (element instanceof type) return element;
  throw new Error(`the page has no ${id}`);
}

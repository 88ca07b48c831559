import type { Clock } from '@spillway/core/clock';
import { invalid } from '@spillway/core/invalid';
import type { CallTool } from './call-tool.ts';
import { type ArgumentsCheck, checkOfArguments } from './arguments-check.ts';

/** How a request for a tool ended. */
export type ToolOutcome =
  /** The model has its result. */
  | 'done'
  /** The arguments were wrong, and the model was told how: it may ask once more. */
  | 'corrected'
  /** They were wrong a second time. */
  | 'invalid'
  /** There is no tool of that name. */
  | 'unknown'
  | 'failed'
  | 'late'
  /** As many run as may. */
  | 'refused'
  /** The model does not want the result any more; the run was aborted. */
  | 'cancelled';

/** A request for a tool that has ended. */
export interface EndedToolRun {
  readonly toolCallId: string;
  readonly name: string;
  readonly outcome: ToolOutcome;
  readonly tookMs: number;
}

/** Where results go. */
export interface ToolRunsOptions {
  readonly tools: readonly CallTool[];
  readonly callId: string;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** Gives the model what it is told. Called once for each request, unless the call is over. */
  readonly give: (toolCallId: string, output: string) => void;
  readonly onEnded: (run: EndedToolRun) => void;
  /** What is heard while a tool works. */
  readonly filler?: { begin(): void; stop(): void } | undefined;
}

/** Requests that are kept in mind, so that none is run twice. */
const maxAsked = 1024;
/** Runs at once. A model asks for a few; one that asks for more is told to wait. */
const maxRuns = 8;
const defaultDeadlineMs = 10_000;
const defaultFallback = 'This tool cannot be used now. Go on without it.';

interface Tool {
  readonly tool: CallTool;
  readonly check: ArgumentsCheck;
  /** Whether the last arguments were wrong: the model was told how, and is told once. */
  wasCorrected: boolean;
}

interface Run {
  readonly tool: CallTool;
  readonly abort: AbortController;
  readonly startedMs: number;
}

/** The tools of a call: each request is checked, run with a deadline, and answered once. */
export class ToolRuns {
  readonly #options: ToolRunsOptions;
  readonly #tools: ReadonlyMap<string, Tool>;
  /** What runs, by the model's id. */
  readonly #asked = new Set<string>();
  readonly #running = new Map<string, Run>();

  /** @throws {SpillwayError} `invalid_option` for two tools of one name, a deadline out of its range, or a schema that is none. */
  constructor(options: ToolRunsOptions) {
    this.#options = options;
    const tools = new Map<string, Tool>();
    for (const tool of options.tools) {
      const { deadlineMs = defaultDeadlineMs, name } = tool;
      if (tools.has(name))
        throw invalid(`tools: expected each name once, got ${JSON.stringify(name)} twice.`);
      if (!(deadlineMs >= 100 && deadlineMs <= 120_000))
        throw invalid(`tools: ${name}: deadlineMs: expected 100 to 120,000 milliseconds, got ${deadlineMs}.`);
      tools.set(name, { tool, check: checkOfArguments(tool), wasCorrected: false });
    }
    this.#tools = tools;
  }

  /** The model asks for a tool. */
  ask(toolCallId: string, name: string, input: string): void {
    if (this.#asked.has(toolCallId)) return;
    this.#asked.add(toolCallId);
    const [oldest = ''] = this.#asked;
    if (this.#asked.size > maxAsked) this.#asked.delete(oldest);
    const known = this.#tools.get(name);
    if (known === undefined) {
      const names = [...this.#tools.keys()].join(', ') || 'none';
      this.#answer(toolCallId, name, 'unknown', `There is no tool of this name. There is: ${names}.`);
      return;
    }
    const checked = known.check(input);
    if ('wrong' in checked) {
      if (known.wasCorrected) this.#answer(toolCallId, name, 'invalid', fallbackOf(known.tool));
      else
        this.#answer(
          toolCallId,
          name,
          'corrected',
          `The arguments are wrong: ${checked.wrong}. Ask once more.`,
        );
      known.wasCorrected = !known.wasCorrected;
      return;
    }
    known.wasCorrected = false;
    if (this.#running.size >= maxRuns) this.#answer(toolCallId, name, 'refused', fallbackOf(known.tool));
    else this.#run(toolCallId, known.tool, checked.input);
  }

  /** The model does not want a result any more: nothing is given. */
  cancel(toolCallId: string): void {
    const run = this.#running.get(toolCallId);
    if (run === undefined) return;
    this.#forget(toolCallId);
    run.abort.abort();
    this.#ended(toolCallId, run, 'cancelled');
  }

  /** The call is over: what runs is aborted, and no result is given. */
  close(): void {
    for (const { abort } of this.#running.values()) abort.abort();
    this.#running.clear();
  }

  #run(toolCallId: string, tool: CallTool, input: unknown): void {
    const { callId, clock, give } = this.#options;
    const run: Run = { tool, abort: new AbortController(), startedMs: clock.nowMs() };
    const { signal } = run.abort;
    this.#running.set(toolCallId, run);
    this.#options.filler?.begin();
    // The first to come is the answer; a run that was given up, or whose call is over, has no second one.
    const end = (outcome: ToolOutcome, output: string): void => {
      if (this.#running.get(toolCallId) !== run) return;
      this.#forget(toolCallId);
      deadline.stop();
      give(toolCallId, output);
      this.#ended(toolCallId, run, outcome);
    };
    const deadline = clock.after(tool.deadlineMs ?? defaultDeadlineMs, () => {
      end('late', fallbackOf(tool));
      run.abort.abort();
    });
    signal.addEventListener('abort', () => deadline.stop());
    void Promise.resolve()
      .then(() => tool.run(input, { callId, toolCallId, signal }))
      .then(
        // Whoever writes no types may return anything.
        (output: unknown) =>
          end('done', typeof output === 'string' ? output : (JSON.stringify(output) ?? '')),
        () => end('failed', fallbackOf(tool)),
      );
  }

  #forget(toolCallId: string): void {
    this.#running.delete(toolCallId);
    if (this.#running.size === 0) this.#options.filler?.stop();
  }

  #ended(toolCallId: string, { startedMs, tool: { name } }: Run, outcome: ToolOutcome): void {
    const { clock, onEnded } = this.#options;
    onEnded({ toolCallId, name, outcome, tookMs: clock.nowMs() - startedMs });
  }

  /** Answers at once. */
  #answer(toolCallId: string, name: string, outcome: ToolOutcome, output: string): void {
    this.#options.give(toolCallId, output);
    this.#options.onEnded({ toolCallId, name, outcome, tookMs: 0 });
  }
}

function fallbackOf({ fallback = defaultFallback }: CallTool): string {
  return fallback;
}

import { SpillwayError } from '@spillway/core';
import type { Clock } from '@spillway/core/clock';
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
  | 'refused';

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
}

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

/** The tools of a call: each request is checked, run with a deadline, and answered once. */
export class ToolRuns {
  readonly #options: ToolRunsOptions;
  readonly #tools: ReadonlyMap<string, Tool>;
  readonly #running = new Set<AbortController>();

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

  /** Tools at work. */
  get running(): number {
    return this.#running.size;
  }

  /** The model asks for a tool. */
  ask(toolCallId: string, name: string, input: string): void {
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

  /** The call is over: what runs is aborted, and no result is given. */
  close(): void {
    for (const run of this.#running) run.abort();
    this.#running.clear();
  }

  #run(toolCallId: string, tool: CallTool, input: unknown): void {
    const { callId, clock } = this.#options;
    const run = new AbortController();
    const startedMs = clock.nowMs();
    this.#running.add(run);
    // The first to come is the answer; a run that was given up, or whose call is over, has no second one.
    const end = (outcome: ToolOutcome, output: string): void => {
      if (!this.#running.delete(run)) return;
      deadline.stop();
      this.#answer(toolCallId, tool.name, outcome, output, clock.nowMs() - startedMs);
    };
    const deadline = clock.after(tool.deadlineMs ?? defaultDeadlineMs, () => {
      end('late', fallbackOf(tool));
      run.abort();
    });
    run.signal.addEventListener('abort', () => deadline.stop());
    void Promise.resolve()
      .then(() => tool.run(input, { callId, toolCallId, signal: run.signal }))
      .then(
        (output) => end('done', output),
        () => end('failed', fallbackOf(tool)),
      );
  }

  #answer(toolCallId: string, name: string, outcome: ToolOutcome, output: string, tookMs = 0): void {
    this.#options.give(toolCallId, output);
    this.#options.onEnded({ toolCallId, name, outcome, tookMs });
  }
}

function fallbackOf({ fallback = defaultFallback }: CallTool): string {
  return fallback;
}

function invalid(message: string): SpillwayError {
  return new SpillwayError('invalid_option', message);
}

import type { ModelTool } from '../model/model-tool.ts';

/** What a run of a tool is told beside its arguments. */
export interface ToolRun {
  /** The carrier's id of the call. */
  readonly callId: string;
  /** The model's id of this request for the tool: the same one is never run twice. */
  readonly toolCallId: string;
  /** Aborted when the deadline is over or the call has ended. */
  readonly signal: AbortSignal;
}

/** Something that a model may ask for, and that the call does for it. */
export interface CallTool extends ModelTool {
  /** How long a run may take: 100 to 120,000 ms. Default: 10,000. */
  readonly deadlineMs?: number;
  /** What the model is told when there is no result. Default: a sentence that says that the tool cannot be used now. */
  readonly fallback?: string;
  /**
   * Does it. `input` has been checked against `parameters`. What it resolves to is told to the model; when it rejects, the
   * model is told `fallback`.
   */
  run(input: unknown, about: ToolRun): Promise<string>;
}

/** Something that a model may ask for, while it answers. */
export interface ModelTool {
  /** Letters, digits, `_` and `-`, at most 64. */
  readonly name: string;
  /** When to ask for it, in words for the model. */
  readonly description: string;
  /** The JSON Schema of its arguments: an object. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

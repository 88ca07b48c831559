import type { Route } from '../http/route.ts';

/** What stands at one place of a JSON body. */
export interface MemberText {
  /** The names on the way to it. */
  readonly path: readonly string[];
  /** `undefined`: there is no text. */
  readonly text: string | undefined;
}

/** A request, as far as limits look at it. */
export interface LimitedRequest {
  readonly route: Pick<Route, 'format'>;
  readonly method: string;
  /** As the provider gets it. */
  readonly path: string;
  /** Who answers it, as far as that is known. */
  readonly provider: { readonly name: string };
  /** Whether models without a provider's name belong to that provider. */
  readonly isFirstProvider: boolean;
  /** As the client named it. */
  readonly model: string | undefined;
  /** The models that may answer it, where `model` is a name of the operator's own. Default: `model` at `provider`. */
  readonly targets?: readonly LimitedTarget[] | undefined;
  /** What it has asked for, where another model answers because of pressure; `undefined`: that is the same. */
  readonly replaced?: ReplacedModel | undefined;
  readonly wantsEvents: boolean;
  /**
   * Whether it is a part of a conversation or call, whose own lease has the place among the streams and was counted as a request. Then
   * it spends tokens and money alone. Default: false.
   */
  readonly isWithin?: boolean | undefined;
  /** Whether it is a call of which all answers are such parts. Then it spends neither tokens nor money. Default: false. */
  readonly isAround?: boolean | undefined;
  /** The texts at what `Limiter.members` was when its body was read: a reload may have changed that since. */
  readonly members: readonly MemberText[] | undefined;
  /** An estimate. */
  readonly promptTokens: number;
  /** How many prompts it has, each with answers of its own. Default: 1. */
  readonly prompts?: number | undefined;
}

/**
 * A model that gave way to another one. A key must be allowed what it asked for, and what it costs is of who answers.
 */
export interface ReplacedModel extends Pick<LimitedRequest, 'provider' | 'targets'> {
  /** The model that answers, as clients name it. */
  readonly by: string;
}

/** A model at a provider. */
export interface LimitedTarget {
  readonly provider: { readonly name: string };
  /** As the provider names it. */
  readonly model: string;
}

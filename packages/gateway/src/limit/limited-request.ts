import type { Route } from '../http/route.ts';

/** A request, as far as limits look at it. */
export interface LimitedRequest {
  readonly route: Pick<Route, 'format'>;
  readonly method: string;
  /** As the provider gets it. */
  readonly path: string;
  readonly provider: { readonly name: string };
  /** Whether models without a provider's name belong to that provider. */
  readonly isFirstProvider: boolean;
  readonly model: string | undefined;
  readonly wantsEvents: boolean;
  /** The texts at `Limiter.members`, in their order. */
  readonly members: readonly (string | undefined)[] | undefined;
  /** An estimate. */
  readonly promptTokens: number;
}

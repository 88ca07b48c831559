import { LimitError, type ReachedLimit } from '@spillway/server/limit/limit-error';

/**
 * Ends an answer that has used up what it had reserved while the store of limits is away: nothing more could be reserved,
 * and `whenLimitStoreFails` is `closed`. No limit is reached, as far as is known. To readers it is an end as by a limit, with a reason of its own.
 */
export class LostStoreError extends LimitError {
  override readonly code = 'limits_unavailable';
  override readonly status = 503;
  override readonly cutReason = 'limits_unavailable';

  /** `reached`: the budget of which nothing more could be reserved. */
  constructor(reached: Pick<ReachedLimit, 'scope' | 'used' | 'value'> & { readonly budget: string }) {
    const { budget, ...rest } = reached;
    super(
      { ...rest, name: 'limits_unavailable', resetMs: undefined },
      `The store of limits does not answer, or is full, so nothing more could be reserved (${budget}) when what was reserved was used up, and answers do not go on uncounted (whenLimitStoreFails).`,
    );
  }

  override get isCancel(): boolean {
    return true;
  }
}

/** What a provider said when it refused a request, as an operator may see it: nothing of the request is in it. */
export interface ProviderRefusal {
  readonly status: number;
  /** The provider's own code and type of the error; empty: it gave none. */
  readonly code: string;
  readonly type: string;
  /** The provider's words, cut; empty: they may quote the request, or there are none. */
  readonly message: string;
}

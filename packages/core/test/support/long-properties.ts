import fc from 'fast-check';

// Where a property says how long a list may become, some are as long. By default fast-check makes ten elements, whatever the bound
// is, and what needs more steps than that is never seen.
fc.configureGlobal({ ...fc.readConfigureGlobal(), defaultSizeToMaxWhenMaxSpecified: true });

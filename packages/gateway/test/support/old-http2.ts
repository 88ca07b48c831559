/** Loaded into a process with `--import`: it says that its HTTP/2 is older than it is. */
Object.defineProperty(process, 'versions', { value: { ...process.versions, nghttp2: '1.68.0' } });

import type { JSX } from 'preact';
export function Playground(_: unknown): JSX.Element { return <p/>; }

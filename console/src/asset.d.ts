/** What `build.ts` makes of an import that is no script. */
declare module '*.css';
declare module '*.md' {
  const text: string;
  export default text;
}

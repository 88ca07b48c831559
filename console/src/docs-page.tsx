import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Markdown } from './markdown.tsx';
import { type DocName, docHref, docNames } from './route.ts';

/** Loaded when somebody asks: they are of this version, and there without the internet. */
const texts: Readonly<Record<DocName, () => Promise<{ readonly default: string }>>> = {
  runbook: () => import('../../docs/runbook.md'),
  errors: () => import('../../docs/errors.md'),
  operating: () => import('../../docs/operating.md'),
  providers: () => import('../../docs/providers.md'),
};
const titles: Readonly<Record<DocName, string>> = {
  runbook: 'Runbook',
  errors: 'Errors',
  operating: 'Operating',
  providers: 'Providers',
};

/** A document of the gateway, at one of its sections. */
export function DocsPage({ doc, section }: { readonly doc: DocName; readonly section: string }): JSX.Element {
  const [text, setText] = useState<{ readonly doc: DocName; readonly text: string }>();
  useEffect(() => {
    let isOver = false;
    const load = async (): Promise<void> => {
      const loaded = await texts[doc]().catch(() => undefined);
      const shown = loaded?.default ?? '# It could not be loaded\n\nThe gateway does not answer.';
      if (!isOver) setText({ doc, text: shown });
    };
    void load();
    return () => {
      isOver = true;
    };
  }, [doc]);
  useEffect(() => {
    if (text?.doc !== doc) return;
    const heading = document.getElementById(`doc-${section}`);
    if (heading === null) scrollTo(0, 0);
    else heading.scrollIntoView();
  }, [text, doc, section]);
  return (
    <>
      <nav class="chips" aria-label="Documents">
        {docNames.map((name) => (
          <a key={name} class="chip" href={docHref(name)} aria-current={name === doc ? 'page' : undefined}>
            {titles[name]}
          </a>
        ))}
      </nav>
      {text?.doc === doc ? (
        <article class="panel doc">
          <Markdown text={text.text} doc={doc} />
        </article>
      ) : (
        <p class="empty">Loading…</p>
      )}
    </>
  );
}

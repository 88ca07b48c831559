/**
 * Words that end with a point and no sentence, in small letters. Of all languages at once: callers and models mix them. A word
 * that is also common at the end of a sentence stands in one of the lists below instead.
 */
export const abbreviations: ReadonlySet<string> = new Set(
  [
    // English: before a name, or in the middle.
    'dr mr mrs ms mx prof st rev fr gen capt lt col sgt cpl maj cmdr hon pres gov sen rep supt messrs',
    'vs approx dept e.g i.e cf viz resp incl ext esp i.a q.v',
    // German.
    'hr hrn fr frl dipl ing bzw evtl ggf usf inkl exkl ca zzgl vgl sog geb gest str z.b d.h u.a z.t i.d.r o.ä u.u',
    // French.
    'm mme mmes mlle mlles mgr bd av env c.-à-d',
    // Spanish, Italian and Portuguese.
    'sr sra sres srta dra ing lic arq avda ud uds vd p.ej p.d dña sig sig.ra dott avv ecc',
  ]
    .join(' ')
    .split(' '),
);

/** Words with a point that belong to a number behind them: "No. 5". Without one the sentence is over: "I said no." */
export const numbered: ReadonlySet<string> = new Set(
  'no nos nr nrn núm n art abs fig figs ch chap sec sect vol p pp par eq lit tel bl jan feb mar apr jun jul aug sep sept oct okt nov dec dez'.split(
    ' ',
  ),
);

/** Words with a point behind which a sentence goes on or ends: what is next decides. */
export const ambiguous: ReadonlySet<string> = new Set(
  'inc ltd co corp bros jr etc al ave blvd rd ph.d b.a m.a m.d usw u.s.w'.split(' '),
);

/** English words that begin a sentence far more often than a name: "in the U.S. The …", beside "the U.S. Army". */
export const starters: ReadonlySet<string> = new Set(
  'a an the this that these those it he she we they you i there here what who when where why how if in on at as for so but and or no yes please thank thanks just let also after before now once feel one some most each to with from by any anything do does did is are was were can could would will shall should may my our your his her their its then however'.split(
    ' ',
  ),
);
/** The longest of them, in characters. */
export const longestStarter = Math.max(...[...starters].map((word) => word.length));

/** Languages that write "3." for "third". */
const ordinalLanguages: ReadonlySet<string> = new Set(
  'cs da de et fi fo hr hu is lv nb nn no pl sk sl sr tr'.split(' '),
);

/** Whether a number with a point is an ordinal in a language. */
export function hasOrdinalPoint(language: string): boolean {
  return ordinalLanguages.has(language.split(/[-_]/, 1)[0]?.toLowerCase() ?? '');
}

import type { Assault } from './assault.ts';
import { adminFloods } from './attackers/admin-floods.ts';
import { announcedBodies } from './attackers/announced-bodies.ts';
import { compressedBodies } from './attackers/compressed-bodies.ts';
import { descriptorFloods } from './attackers/descriptor-floods.ts';
import { evilProviders } from './attackers/evil-providers.ts';
import { halfMessages } from './attackers/half-messages.ts';
import { heavyFrames } from './attackers/heavy-frames.ts';
import { idleConnections } from './attackers/idle-connections.ts';
import { largeBodies } from './attackers/large-bodies.ts';
import { leavers } from './attackers/leavers.ts';
import { modelLists } from './attackers/model-lists.ts';
import { pathTricks } from './attackers/path-tricks.ts';
import { pipelinedRequests } from './attackers/pipelined-requests.ts';
import { refusedUpgrades } from './attackers/refused-upgrades.ts';
import { sessionPings } from './attackers/session-pings.ts';
import { sessionRefusals, sessionResumes } from './attackers/session-requests.ts';
import { slowHeads } from './attackers/slow-heads.ts';
import { slowReaders } from './attackers/slow-readers.ts';
import { unreadAnswers } from './attackers/unread-answers.ts';

/** Every kind of attack, by its name. */
export const kinds: Readonly<Record<string, (assault: Assault) => void>> = {
  'refused-upgrades': refusedUpgrades,
  'unread-answers': unreadAnswers,
  'idle-connections': idleConnections,
  'slow-heads': slowHeads,
  'session-pings': sessionPings,
  'session-resumes': sessionResumes,
  'session-refusals': sessionRefusals,
  'half-messages': halfMessages,
  'heavy-frames': heavyFrames,
  'announced-bodies': announcedBodies,
  'large-bodies': largeBodies,
  'compressed-bodies': compressedBodies,
  'model-lists': modelLists,
  'path-tricks': pathTricks,
  'evil-providers': evilProviders,
  'slow-readers': slowReaders,
  leavers,
  'pipelined-requests': pipelinedRequests,
  'descriptor-floods': descriptorFloods,
  'admin-floods': adminFloods,
};

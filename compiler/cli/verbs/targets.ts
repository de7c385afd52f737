/** `spc targets`. */
import { targetNames, targets } from '../../../backends/index.js';
import type { RunVerb } from '../verb.js';

export const run: RunVerb = async (_args, _flags, terminal) => {
  const rows = targetNames.map((name) => ({ name, doc: targets[name]({ cpu: 'native' }).doc }));
  terminal.table(['target', 'emits'], rows.map((r) => [r.name, r.doc]));
  return { result: { targets: rows } };
};

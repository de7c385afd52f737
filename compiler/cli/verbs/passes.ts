/** `spc passes`: the pipeline in order. */
import { targets } from '../../../backends/index.js';
import { pipelineFor } from '../../../passes/pipeline.js';
import type { RunVerb } from '../verb.js';

export const run: RunVerb = async (_args, flags, terminal) => {
  const target = targets[flags.target ?? 'cpu']({ cpu: 'native' });
  const passes = pipelineFor(target).map(({ name, doc }) => ({ name, doc }));
  terminal.table(['pass', 'what it does'], passes.map((p) => [p.name, p.doc]));
  return { result: { target: target.name, passes } };
};

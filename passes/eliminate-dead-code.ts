import { GraphEditor } from '../compiler/ir/edit.js';
import { definePass } from './types.js';

export const eliminateDeadCode = definePass({
  name: 'eliminate-dead-code',
  doc: 'removes nodes and constants that no output depends on',
  run(graph) {
    const next = new GraphEditor(graph).finish();
    return next.nodes.length === graph.nodes.length && next.values.size === graph.values.size ? graph : next;
  },
});

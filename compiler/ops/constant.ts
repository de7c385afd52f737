/** Constant: a tensor in the model. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { defineOnnxOp, type OnnxOp } from './types.js';

/** The attributes that may hold the value; a node has exactly one of them. */
const valueAttributes = ['value', 'sparse_value', 'value_float', 'value_floats', 'value_int', 'value_ints', 'value_string', 'value_strings'] as const;

const constant = defineOnnxOp({
  op: 'Constant',
  limits: 'strings are not supported',
  lower(n) {
    for (const name of valueAttributes) {
      const tensor = n.attr.tensor(name);
      if (tensor) return n.g.constant(tensor, n.name);
    }
    throw new NodeProblem('SPC1006', `none of the attributes ${valueAttributes.join(', ')} is given`, 'the model is not valid ONNX; export it again');
  },
});

export const constantOps: readonly OnnxOp[] = [constant];

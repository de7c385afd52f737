/**
 * Every diagnostic code: its title and what it means (docs/diagnostics.md is printed from this table). A code is never reused
 * for something else. SPC1xxx import, 2xxx types and shapes, 3xxx sparsity, 4xxx planning, 5xxx back ends, 9xxx a bug in spc.
 */
export interface CodeInfo {
  readonly title: string;
  readonly explanation: string;
}

export const codes = {
  SPC1001: { title: 'not a readable ONNX file', explanation: 'The bytes do not decode as an ONNX ModelProto (cut off, damaged, or another format), or the model has no graph.' },
  SPC1002: { title: 'unsupported version', explanation: 'The IR version or the opset of a domain is outside the range that spc reads (IR 3 and up, ai.onnx opset 7 to 22), or a node uses a domain that the model does not import.' },
  SPC1003: { title: 'unsupported operator', explanation: 'spc has no lowering for the operator. All unsupported operators of a model are listed at once; `spc ops` lists the supported ones.' },
  SPC1004: { title: 'unsupported use of an operator', explanation: 'The operator is supported, this combination of attributes, types or inputs is not.' },
  SPC1005: { title: 'input must be a compile-time constant', explanation: 'The operator needs the value of this input (a shape, axes, pads...) while compiling, but it depends on a graph input. Bind the graph input to a value, or simplify the model.' },
  SPC1006: { title: 'bad attribute', explanation: 'A required attribute is missing or an attribute has another type than the operator expects.' },
  SPC1007: { title: 'missing input', explanation: 'A required input of the node is not given.' },
  SPC1008: { title: 'undefined name', explanation: 'A node or the graph uses a tensor that no node, input or initialiser defines.' },
  SPC1009: { title: 'duplicate name', explanation: 'Two nodes, inputs or initialisers define a tensor of the same name; ONNX graphs are in single-assignment form.' },
  SPC1010: { title: 'cycle', explanation: 'Nodes depend on one another in a circle, or functions call one another recursively.' },
  SPC1011: { title: 'unbound dimension', explanation: 'spc compiles for static shapes; a symbolic or unknown dimension of an input needs a value (`--dim NAME=VALUE` or `--dim INPUT:AXIS=VALUE`).' },
  SPC1012: { title: 'batch bound to 1', explanation: 'The first dimension of an input is symbolic and was not bound; it was set to 1.' },
  SPC1013: { title: 'unsupported element type', explanation: 'The tensor holds elements (strings, complex numbers, 4-bit or 8-bit floats...) that spc does not compute with.' },
  SPC1014: { title: 'bad tensor', explanation: 'A tensor in the file is inconsistent: its data do not match its dims, a dim is negative, an index is out of range.' },
  SPC1015: { title: 'tensor too large', explanation: 'The product of the dims overflows or exceeds what spc can address; usually the file is damaged or a dimension is bound to a wrong value.' },
  SPC1016: { title: 'bad external data', explanation: 'The file with the data of a tensor is missing, too short, or lies outside the folder of the model.' },
  SPC1017: { title: 'bad graph input', explanation: 'A graph input has no tensor type, or was bound to a value of another type or shape.' },
  SPC1018: { title: 'type or shape differs from what the model declares', explanation: 'The model declares another element type or shape for an output than its operators compute.' },
  SPC1019: { title: 'unknown name in an option', explanation: 'A dimension or input named in the options does not occur in the model.' },
  SPC1020: { title: 'model expands without bounds', explanation: 'Functions or subgraphs nest too deeply or expand to too many nodes.' },
  SPC1021: { title: 'default value compiled in', explanation: 'A graph input has a default value (an initialiser of the same name); spc compiles that value in and does not offer the input.' },
  SPC5001: { title: 'weights file on an FPGA', explanation: 'The fpga target keeps constants in read-only memories of the design; there is no file to load them from at run time.' },
  SPC9002: { title: 'internal error', explanation: 'A bug in spc: an unexpected exception while handling a node. Please report it with the model.' },
} as const satisfies { readonly [code: string]: CodeInfo };

export type Code = keyof typeof codes;

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
  SPC1002: { title: 'unsupported version', explanation: 'The IR version or the opset of a domain is outside the range that spc reads (IR 3 and up, ai.onnx opset 6 to 22), or a node uses a domain that the model does not import.' },
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
  SPC1090: { title: 'IR text does not parse', explanation: 'The text form of a graph (a dump or a reproducer) has an error at the place named.' },
  SPC1091: { title: 'unknown pass', explanation: 'An option names a pass that does not exist.' },
  SPC2001: { title: 'element types do not fit', explanation: 'Operands of one operator have different element types, or a type that the operator does not take. ONNX converts nothing by itself.' },
  SPC2002: { title: 'shapes do not fit each other', explanation: 'Operands neither have equal extents nor broadcast.' },
  SPC2003: { title: 'wrong rank', explanation: 'An operand has too few or too many dimensions for the operator.' },
  SPC2004: { title: 'sizes do not fit', explanation: 'Extents of the operands contradict one another or the attributes (channels, groups, kernel sizes, split sizes...).' },
  SPC2005: { title: 'cannot reshape', explanation: 'The new shape has another number of elements.' },
  SPC2006: { title: 'value out of range', explanation: 'An index, step or size given as a constant lies outside of what the tensor allows.' },
  SPC2007: { title: 'axis out of range', explanation: 'An axis is not a dimension of the tensor.' },
  SPC5001: { title: 'weights file on an FPGA', explanation: 'The fpga target keeps constants in read-only memories of the design; there is no file to load them from at run time.' },
  SPC5501: { title: 'no C compiler', explanation: 'Running a compiled model needs a C compiler (cc, gcc or clang; the environment variable CC names another).' },
  SPC5502: { title: 'the C compiler failed', explanation: 'The emitted code did not compile; its messages are shown.' },
  SPC5503: { title: 'the compiled model cannot be loaded', explanation: 'The shared library of the model is missing, damaged or of another version.' },
  SPC5504: { title: 'weights are missing', explanation: 'The model was compiled with its weights in a file of their own, which is missing or has another size.' },
  SPC5505: { title: 'compiled for another target', explanation: 'The build folder holds a model for a target that cannot be run here.' },
  SPC6100: { title: 'data file cannot be read', explanation: 'A file with input data does not exist or is not readable.' },
  SPC6101: { title: 'bad .npy data', explanation: 'The file is not a readable .npy array, or holds an element type that spc does not have.' },
  SPC6102: { title: 'bad .npz data', explanation: 'The file is not a readable .npz archive.' },
  SPC6103: { title: 'unknown input', explanation: 'Data are given for an input that the model does not have.' },
  SPC6104: { title: 'missing input data', explanation: 'An input of the model has no data.' },
  SPC6105: { title: 'input data do not fit', explanation: 'The data have another element type or shape than the input of the model.' },
  SPC6106: { title: 'bad .pb data', explanation: 'The file is not a readable ONNX TensorProto.' },
  SPC6110: { title: 'not a build folder', explanation: 'The folder has no manifest.json written by spc compile.' },
  SPC6111: { title: 'bad manifest', explanation: 'The manifest of the build folder is damaged or of another version.' },
  SPC9001: { title: 'internal error: dangling value', explanation: 'A bug in spc: a graph refers to a value that it does not have, or reads one before it is computed.' },
  SPC9002: { title: 'internal error', explanation: 'A bug in spc: an unexpected exception while handling a node. Please report it with the model.' },
  SPC9003: { title: 'internal error: no lowering', explanation: 'A bug in spc: an operator reached a stage that cannot handle it.' },
  SPC9004: { title: 'internal error: representation', explanation: 'A bug in spc: a rewrite changed a type, or a printer was given what its language does not have.' },
  SPC9005: { title: 'internal error in a pass', explanation: 'A bug in spc: a pass threw or does not come to an end. A reproducer is written.' },
  SPC9006: { title: 'internal error: plan', explanation: 'A bug in spc: the plan reads memory that no step has written, or memory is renamed to another size.' },
  SPC9010: { title: 'verifier: structure', explanation: 'A bug in spc: a graph is not well formed (unknown values, order of nodes).' },
  SPC9011: { title: 'verifier: names', explanation: 'A bug in spc: two values of a graph have one name.' },
  SPC9012: { title: 'verifier: types', explanation: 'A bug in spc: a value has an impossible type.' },
  SPC9013: { title: 'verifier: inference', explanation: 'A bug in spc: a node has other types than its operator infers.' },
  SPC9014: { title: 'verifier: epilogue', explanation: 'A bug in spc: an epilogue is attached where it cannot be, or does not fit its inputs.' },
} as const satisfies { readonly [code: string]: CodeInfo };

export type Code = keyof typeof codes;

/** Sparsity patterns: what they are, putting a weight on one, and finding the one that a weight has. */
export { energyKept, masked, supportOf, type Mask, type Matrix, type MatrixShape } from './matrix.js';
export { formatPattern, namePattern, type Both, type Extent, type Graph, type Leaf, type Nest, type Pattern, type Perm, type Sum } from './pattern.js';
export { parsePattern, patternNames, projectSpec, type PatternSpec } from './parse.js';
export { searchPermutation } from './permute.js';
export { detect, type Candidate, type DetectOptions } from './detect.js';
export { project, projectScores } from './project.js';
export { satisfies } from './satisfies.js';
export { convAttrsView, convView, linearView, matmulView, matrixShape, toMatrices, toTensorMask, type ColumnOrder, type View } from './view.js';

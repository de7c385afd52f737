/** ONNX operators on images and boxes, and determinants. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { elementCount, type Value } from '../ir/types.js';
import { tensorOf } from '../ir/tensor.js';
import { add, mul } from '../kir/build.js';
import { normalAxis, requiredInts, requireFloat } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

const sampleModes = { bilinear: 'linear', linear: 'linear', nearest: 'nearest', bicubic: 'cubic', cubic: 'cubic' } as const;
const isSampleMode = (s: string): s is keyof typeof sampleModes => s in sampleModes;

const gridSample = defineOnnxOp({
  op: 'GridSample',
  lower(n) {
    const { g } = n, x = n.input(0, 'X'), grid = n.input(1, 'grid'), alignCorners = n.attr.int('align_corners', 0) !== 0;
    const mode = n.attr.string('mode', 'linear'), padding = n.attr.string('padding_mode', 'zeros'), dtype = grid.type.dtype;
    requireFloat(x);
    if (!isSampleMode(mode)) return n.unsupported(`mode='${mode}'`);
    if (padding !== 'zeros' && padding !== 'border' && padding !== 'reflection') return n.unsupported(`padding_mode='${padding}'`);
    // [-1, 1] spans the centres of the border elements, or their outer edges; coordinates come last dimension first
    const extents = x.type.shape.slice(2).reverse();
    const row = (values: readonly number[]): Value => g.constant(tensorOf(dtype, [values.length], values), 'grid');
    const scale = row(extents.map((e) => (alignCorners ? (e - 1) / 2 : e / 2))), offset = row(extents.map((e) => (e - 1) / 2));
    const positions = g.map([grid, scale, offset], (p, s, o) => add(mul(p, s), o));
    return g.op('gridSample', [x, positions], { mode: sampleModes[mode], padding, alignCorners });
  },
});

/** Homogeneous coordinates of every output element (last dimension first), times theta. */
const affineGrid = defineOnnxOp({
  op: 'AffineGrid',
  limits: 'size must be a constant',
  lower(n) {
    const { g } = n, theta = n.input(0, 'theta'), size = requiredInts(n, 1, 'size'), spatial = size.slice(2), rank = spatial.length;
    const alignCorners = n.attr.int('align_corners', 0) !== 0, dtype = theta.type.dtype;
    const coordinate = (i: number, extent: number): number => (alignCorners ? (extent === 1 ? -1 : (2 * i) / (extent - 1) - 1) : (2 * i + 1) / extent - 1);
    const count = elementCount(spatial), points: number[] = [];
    for (let p = 0; p < count; p++) {
      let rest = p;
      for (let d = rank - 1; d >= 0; d--) {
        points.push(coordinate(rest % spatial[d]!, spatial[d]!));
        rest = Math.floor(rest / spatial[d]!);
      }
      points.push(1);
    }
    const base = g.constant(tensorOf(dtype, [count, rank + 1], points), 'grid');
    const y = g.op('matmul', [base, theta], { transA: false, transB: true, out: dtype })[0]!;
    return g.reshape(y, [size[0]!, ...spatial, rank]);
  },
});

const roiAlign = defineOnnxOp({
  op: 'RoiAlign',
  lower(n) {
    const x = n.input(0, 'X'), mode = n.attr.string('mode', 'avg');
    requireFloat(x);
    if (mode !== 'avg' && mode !== 'max') return n.unsupported(`mode='${mode}'`);
    const halfPixel = n.opset >= 16 && n.attr.string('coordinate_transformation_mode', 'half_pixel') === 'half_pixel';
    return n.g.op('roiAlign', [x, n.input(1, 'rois'), n.input(2, 'batch_indices')], {
      mode: mode === 'avg' ? 'average' : 'max',
      outputSize: [n.attr.int('output_height', 1), n.attr.int('output_width', 1)],
      samplingRatio: n.attr.int('sampling_ratio', 0),
      scale: n.attr.float('spatial_scale', 1),
      offset: halfPixel ? 0.5 : 0,
    });
  },
});

/** Crops or pads the given axes to a size, alike on both sides; an odd element is cropped or added behind. */
const centerCropPad = defineOnnxOp({
  op: 'CenterCropPad',
  limits: 'shape must be a constant',
  lower(n) {
    const { g } = n, x = n.input(0, 'input_data'), rank = x.type.shape.length, wanted = requiredInts(n, 1, 'shape');
    const axes = n.attr.ints('axes', x.type.shape.map((_, d) => d)).map((a) => normalAxis(a, rank));
    if (axes.length !== wanted.length) throw new NodeProblem('SPC1006', `${wanted.length} extents for ${axes.length} axes`);
    const target = x.type.shape.map((e, d) => (axes.includes(d) ? wanted[axes.indexOf(d)]! : e));
    const cropped = x.type.shape.map((e, d) => Math.min(e, target[d]!));
    const inner = cropped.every((e, d) => e === x.type.shape[d]) ? x
      : g.op('slice', [x], { starts: x.type.shape.map((e, d) => Math.floor((e - cropped[d]!) / 2)), steps: x.type.shape.map(() => 1), shape: cropped })[0]!;
    if (cropped.every((e, d) => e === target[d])) return inner;
    const before = target.map((e, d) => Math.floor((e - cropped[d]!) / 2));
    return g.op('pad', [inner], { mode: 'constant', before, after: target.map((e, d) => e - cropped[d]! - before[d]!) });
  },
});

const det = defineOnnxOp({
  op: 'Det',
  lower(n) {
    const x = n.input(0, 'X');
    requireFloat(x);
    return n.g.op('determinant', [x], {});
  },
});

const nonMaxSuppression = defineOnnxOp({
  op: 'NonMaxSuppression',
  limits: 'not supported: the number of boxes it selects is known only at run time',
  lower: (n: OnnxNode) => n.unsupported('the number of boxes that it selects is known only at run time', 'export the model without it and let the application select among boxes and scores'),
});

export const visionOps: readonly OnnxOp[] = [gridSample, affineGrid, roiAlign, centerCropPad, det, nonMaxSuppression];

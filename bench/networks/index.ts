/** The networks of the benchmark by name. */
import type { Network } from './builder.js';
import { gscCnn, gscWinners, lenet5, mobileNetV1, resnet50, vgg16Convolutions } from './convolutional.js';
import { dlrmMlp, integerLayers, linearLayers, pointwiseLayers } from './perceptron.js';
import { bertEncoder, bertLinears } from './transformer.js';

export interface NetworkEntry {
  readonly build: (batch: number) => Network;
  /** What pruning touches, as the tables of results say it. */
  readonly pruned: string;
  /** The network with ReLU in place of k-winner-take-all: what engines without sparse activations would run. */
  readonly relu?: string;
}

const inner = 'all but the first convolution and the last layer';
const layerShapes = { 512: [512, 512], 2048: [2048, 2048], '768x3072': [768, 3072, 768] } as const;
export type LayerShape = keyof typeof layerShapes;

/** Whole networks, and layers alone: `linear-SHAPE` and in integers `int8-linear-SHAPE` (columns are the batch), `conv1x1-SHAPE@SIZE` (columns are pixels). */
export const networks: Readonly<Record<string, NetworkEntry>> = {
  lenet5: { build: lenet5, pruned: inner },
  gsc: { build: gscCnn, pruned: 'every layer' },
  'gsc-kwta': { build: gscWinners, pruned: 'every layer', relu: 'gsc' },
  dlrm: { build: dlrmMlp, pruned: 'all but the last layer' },
  mobilenetv1: { build: mobileNetV1, pruned: 'pointwise convolutions' },
  resnet50: { build: resnet50, pruned: 'all but the first convolution' },
  vgg16: { build: vgg16Convolutions, pruned: 'all but the first convolution' },
  'bert-base': { build: bertEncoder, pruned: 'the linear layers' },
  'bert-linears': { build: bertLinears, pruned: 'every layer' },
  ...Object.fromEntries(Object.entries(layerShapes).flatMap(([shape, widths]) => [
    [`linear-${shape}`, { build: (batch: number) => linearLayers(widths, batch), pruned: 'every layer' }],
    [`int8-linear-${shape}`, { build: (batch: number) => integerLayers(widths, batch), pruned: 'every layer' }],
    ...[14, 28].map((size) => [`conv1x1-${shape}@${size}`, { build: (batch: number) => pointwiseLayers(widths, size, batch), pruned: 'every layer' }]),
  ])),
};

export function networkNamed(name: string): NetworkEntry {
  const found = networks[name];
  if (!found) throw new Error(`no network is called ${name}; there are: ${Object.keys(networks).join(', ')}`);
  return found;
}

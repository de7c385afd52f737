/** Convolutional networks, inference form: batch normalisation folded into weights and bias. */
import { networkBuilder, WITHOUT_RELU, type Network, type NetworkBuilder, type Value } from './builder.js';

/** LeNet-5 as pruning papers have it since Han et al. (2015): 20 and 50 filters, 500 hidden units, MNIST. */
export function lenet5(batch: number): Network {
  const b = networkBuilder();
  let x = b.input('image', [batch, 1, 28, 28]);
  for (const [out, prune] of [[20, false], [50, true]] as const) x = b.maxPool(b.conv(x, { out, kernel: 5, prune }), 2, 2);
  x = b.relu(b.linear(b.flatten(x), { out: 500 }));
  return b.finish([b.linear(x, { out: 10, prune: false })], { low: 0, high: 1 });
}

/** The speech-command network of Numenta's sparse models: every layer is sparse there, the first and the last too. */
export function gscCnn(batch: number): Network {
  const b = networkBuilder();
  let x = b.input('spectrogram', [batch, 1, 32, 32]);
  for (const out of [64, 64]) x = b.relu(b.maxPool(b.conv(x, { out, kernel: 5 }), 2, 2));
  x = b.relu(b.linear(b.flatten(x), { out: 1500 }));
  return b.finish([b.linear(x, { out: 12 })]);
}

/** The same with k-winner-take-all in place of ReLUs, as Numenta trains it: 7 of 64 channels at each pixel, then a tenth of all elements. */
export function gscWinners(batch: number): Network {
  const b = networkBuilder();
  let x = b.input('spectrogram', [batch, 1, 32, 32]);
  x = b.kWinners(b.maxPool(b.conv(x, { out: 64, kernel: 5 }), 2, 2), 7);
  x = b.kWinners(b.flatten(b.maxPool(b.conv(x, { out: 64, kernel: 5 }), 2, 2)), 160);
  x = b.kWinners(b.linear(x, { out: 1500 }), 150);
  return b.finish([b.linear(x, { out: 12 })]);
}

/** The last convolution of a residual branch is scaled down, so that sixteen additions do not multiply the variance. */
const BRANCH_GAIN = 0.4;

function bottleneck(b: NetworkBuilder, x: Value, width: number, stride: number, project: boolean): Value {
  const out = 4 * width;
  const reduced = b.relu(b.conv(x, { out: width, kernel: 1 }));
  // version 1.5: the 3x3 convolution has the stride
  const middle = b.relu(b.conv(reduced, { out: width, kernel: 3, stride, pad: 1 }));
  const branch = b.conv(middle, { out, kernel: 1, gain: BRANCH_GAIN });
  return b.relu(b.add(branch, project ? b.conv(x, { out, kernel: 1, stride, gain: WITHOUT_RELU }) : x));
}

/** ResNet-50 v1.5 (He et al., 2016); all but the first convolution is pruned. */
export function resnet50(batch: number): Network {
  const b = networkBuilder();
  let x = b.relu(b.conv(b.input('image', [batch, 3, 224, 224]), { out: 64, kernel: 7, stride: 2, pad: 3, prune: false }));
  x = b.maxPool(x, 3, 2, 1);
  [[64, 3], [128, 4], [256, 6], [512, 3]].forEach(([width, blocks], stage) => {
    for (let block = 0; block < blocks!; block++) x = bottleneck(b, x, width!, stage > 0 && block === 0 ? 2 : 1, block === 0);
  });
  return b.finish([b.linear(b.flatten(b.globalAveragePool(x)), { out: 1000 })]);
}

/** MobileNetV1 1.0, 224 (Howard et al., 2017): pointwise convolutions are pruned, depthwise ones are not. */
export function mobileNetV1(batch: number): Network {
  const b = networkBuilder();
  let x = b.relu(b.conv(b.input('image', [batch, 3, 224, 224]), { out: 32, kernel: 3, stride: 2, pad: 1, prune: false }));
  const blocks: readonly (readonly [number, number])[] =
    [[64, 1], [128, 2], [128, 1], [256, 2], [256, 1], [512, 2], [512, 1], [512, 1], [512, 1], [512, 1], [512, 1], [1024, 2], [1024, 1]];
  for (const [out, stride] of blocks) {
    const channels = x.shape[1]!;
    x = b.relu(b.conv(x, { out: channels, kernel: 3, stride, pad: 1, groups: channels, prune: false }));
    x = b.relu(b.conv(x, { out, kernel: 1 }));
  }
  return b.finish([b.linear(b.flatten(b.globalAveragePool(x)), { out: 1000, prune: false })]);
}

/** The thirteen convolutions of VGG-16 (Simonyan and Zisserman, 2015) and their pools, without the three linear layers. */
export function vgg16Convolutions(batch: number): Network {
  const b = networkBuilder();
  let x = b.input('image', [batch, 3, 224, 224]);
  for (const [out, count] of [[64, 2], [128, 2], [256, 3], [512, 3], [512, 3]] as const) {
    for (let i = 0; i < count; i++) x = b.relu(b.conv(x, { out, kernel: 3, pad: 1, prune: x.shape[1] !== 3 }));
    x = b.maxPool(x, 2, 2);
  }
  return b.finish([x]);
}

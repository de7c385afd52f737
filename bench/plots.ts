/** Which plots are drawn from the results. */
import { inPlanOrder, isFull, isLayer, isUsual, sparsityOf } from './plan.js';
import { isPythonPeer, pythonPeerNames, pythonPeers } from './peers/index.js';
import { isMeasured, rowName, type Results, type Row } from './results.js';
import type { DotPlot } from './dot-plot.js';
import type { Plot, Series } from './plot.js';

function seriesOf(results: Results, of: (r: Row) => boolean): Series[] {
  const rows = inPlanOrder(results.rows).filter(isMeasured).filter(of);
  return [...new Set(rows.map((r) => r.network))].map((name) => ({
    name,
    points: rows.filter((r) => r.network === name).flatMap((r) => {
      const sparsity = sparsityOf(r.pattern), speedup = r.result.peers['onnxruntime']?.ratio;
      return sparsity === undefined || speedup === undefined ? [] : [{ sparsity, speedup }];
    }),
    // one measurement is no curve
  })).filter((s) => s.points.length > 1);
}

/** Engines beside each other on the sparse rows that Python peers ran; undefined where none did. */
export function peerPlot(results: Results): { readonly file: string; readonly plot: DotPlot } | undefined {
  const rows = inPlanOrder(results.rows).filter(isMeasured).filter((r) => r.pattern !== 'dense' && Object.keys(r.result.peers).some(isPythonPeer));
  const peers = ['onnxruntime', ...pythonPeerNames.filter((p) => rows.some((r) => r.result.peers[p]))] as const;
  if (rows.length === 0) return undefined;
  return {
    file: 'performance-engines.svg',
    plot: {
      title: 'Other engines on the same sparse files', subtitle: 'Each mark is an engine; the order is that of the tables', engines: peers.map((p) => (isPythonPeer(p) ? pythonPeers[p].title : 'ONNX Runtime')),
      workloads: rows.map((r) => ({ name: `${rowName(r)}, ${r.pattern}, batch ${r.batch}`, ratios: peers.map((p) => r.result.peers[p]?.ratio) })),
    },
  };
}

const subtitle = 'Times faster than ONNX Runtime, one thread, unstructured sparsity';

/** Plots that have something to show, with their files in docs/. */
export function plots(results: Results): readonly { readonly file: string; readonly plot: Plot }[] {
  return [
    { file: 'performance-batch-1.svg', plot: { title: 'Whole networks, batch 1', subtitle, series: seriesOf(results, (r) => isUsual(r) && !isLayer(r) && r.batch === 1) } },
    { file: 'performance-batch-16.svg', plot: { title: 'Whole networks, batch 16', subtitle, series: seriesOf(results, (r) => isUsual(r) && !isLayer(r) && r.batch === 16) } },
    { file: 'performance-layers.svg', plot: { title: 'Layers: 16 vectors (linear), 14 x 14 pixels (conv1x1)', subtitle, series: seriesOf(results, isFull) } },
  ].filter((p) => p.plot.series.length > 0);
}

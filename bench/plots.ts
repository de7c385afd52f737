/** Which plots are drawn from the results. */
import { inPlanOrder, isFull, isLayer, isUsual, sparsityOf } from './plan.js';
import { isMeasured, type Results, type Row } from './results.js';
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

const subtitle = 'Times faster than ONNX Runtime, one thread, unstructured sparsity';

/** Plots that have something to show, with their files in docs/. */
export function plots(results: Results): readonly { readonly file: string; readonly plot: Plot }[] {
  return [
    { file: 'performance-batch-1.svg', plot: { title: 'Whole networks, batch 1', subtitle, series: seriesOf(results, (r) => isUsual(r) && !isLayer(r) && r.batch === 1) } },
    { file: 'performance-batch-16.svg', plot: { title: 'Whole networks, batch 16', subtitle, series: seriesOf(results, (r) => isUsual(r) && !isLayer(r) && r.batch === 16) } },
    { file: 'performance-layers.svg', plot: { title: 'Layers: 16 vectors (linear), 14 x 14 pixels (conv1x1)', subtitle, series: seriesOf(results, isFull) } },
  ].filter((p) => p.plot.series.length > 0);
}

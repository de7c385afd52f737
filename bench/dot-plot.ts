/** Several engines on many workloads as SVG: a line a workload, a mark an engine, at its time over ours on a logarithmic axis. */
import { colours, fixed, label, openSvg, speedupTicks } from './plot.js';

export interface DotPlot {
  readonly title: string;
  readonly subtitle: string;
  /** In the order of their colours. */
  readonly engines: readonly string[];
  /** Ratios in the order of `engines`; undefined where one did not run. */
  readonly workloads: readonly { readonly name: string; readonly ratios: readonly (number | undefined)[] }[];
}

const WIDTH = 800, LEFT = 300, RIGHT = 24, TOP = 92, BOTTOM = 44, LINE = 18;
/** Beyond it a mark stands at the edge, with its number: one slow engine would press all others together. */
const FARTHEST = 100;

export function dotPlot({ title, subtitle, engines, workloads }: DotPlot): string {
  const height = TOP + LINE * workloads.length + BOTTOM, bottom = height - BOTTOM, right = WIDTH - RIGHT;
  const ratios = workloads.flatMap((w) => w.ratios.filter((r) => r !== undefined)), high = Math.min(FARTHEST, Math.max(2, ...ratios) * 1.1), low = Math.min(0.5, ...ratios) / 1.1;
  const x = (ratio: number): number => LEFT + ((right - LEFT) * Math.log(Math.min(ratio, high) / low)) / Math.log(high / low);
  return [
    ...openSvg(WIDTH, height, title), label([16, 26], title, 'class="title"'), label([16, 46], subtitle, 'class="faint"'),
    ...engines.flatMap((name, i) => {
      const at = 16 + i * 130;
      return [`<circle class="mark c${i % colours.length}" cx="${at + 5}" cy="66" r="4.5"/>`, label([at + 16, 70], name, `class="c${i % colours.length}"`)];
    }),
    ...speedupTicks.filter((t) => t >= low && t <= high).flatMap((t) => [
      `<line class="${t === 1 ? 'parity' : 'grid'}" x1="${fixed(x(t))}" x2="${fixed(x(t))}" y1="${TOP - 8}" y2="${bottom}"/>`, label([x(t), bottom + 16], `${t}x`, 'text-anchor="middle"'),
    ]),
    label([(LEFT + right) / 2, height - 10], 'time over that of spc: right of 1x spc is faster', 'class="faint" text-anchor="middle"'),
    ...workloads.flatMap(({ name, ratios: of }, row) => {
      const y = TOP + LINE * (row + 0.5);
      return [
        label([LEFT - 10, y + 4], name, 'text-anchor="end"'), `<line class="grid" x1="${LEFT}" x2="${right}" y1="${fixed(y)}" y2="${fixed(y)}"/>`,
        ...of.flatMap((ratio, i) => (ratio === undefined ? [] : [
          `<circle class="mark c${i % colours.length}" cx="${fixed(x(ratio))}" cy="${fixed(y)}" r="4.5"/>`,
          ...(ratio > high ? [label([right - 10, y + 4], `${Math.round(ratio)}x`, `class="c${i % colours.length}" text-anchor="end"`)] : []),
        ])),
      ];
    }),
    '</svg>', '',
  ].join('\n');
}

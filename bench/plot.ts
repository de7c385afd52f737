/** Speed-up against sparsity as SVG: both axes logarithmic in work, so that 1/density, which skipping zeros can gain at most, is a straight line. */

export interface Point {
  /** Share of zeros of what is pruned, 0 to below 1. */
  readonly sparsity: number;
  readonly speedup: number;
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

export interface Plot {
  readonly title: string;
  readonly subtitle: string;
  readonly series: readonly Series[];
}

const WIDTH = 800, HEIGHT = 480, LEFT = 64, RIGHT = 195, TOP = 64, BOTTOM = 60;
/** Distance of labels at the ends of lines, so that they do not cover each other. */
const LABEL_HEIGHT = 15;

const sparsityTicks = [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98];
export const speedupTicks = [0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100];

/** A colour for light backgrounds and one for dark ones; kept apart also by people who confuse red and green. */
export const colours: readonly (readonly [light: string, dark: string])[] = [
  ['#0060a8', '#5db5ff'], ['#c44e00', '#ff9a57'], ['#00805a', '#3fd6a4'], ['#a8327e', '#f08fcb'], ['#7a6200', '#e5c94a'], ['#5b46c2', '#a99bff'], ['#525a63', '#b4bdc7'],
];

/** Style sheet of all plots: light and dark. */
const style = (): string => `<style>
  .back { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-size: 15px; font-weight: 600 } .faint { fill: #59636e }
  .grid { stroke: #d1d9e0; stroke-width: 1 } .ideal { stroke: #59636e; stroke-dasharray: 6 4; stroke-width: 1.5; fill: none } .parity { stroke: #59636e; stroke-width: 1.5 }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
${colours.map(([light], i) => `  .line.c${i} { stroke: ${light} } .mark.c${i}, text.c${i} { fill: ${light} }`).join('\n')}
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117 } text { fill: #e6edf3 } .faint { fill: #9198a1 } .grid { stroke: #2f353d } .ideal, .parity { stroke: #9198a1 }
${colours.map(([, dark], i) => `    .line.c${i} { stroke: ${dark} } .mark.c${i}, text.c${i} { fill: ${dark} }`).join('\n')}
  }
</style>`;

const escape = (s: string): string => s.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
export const fixed = (x: number): string => x.toFixed(1);

export const label = (at: readonly [number, number], text: string, attributes: string): string => `<text x="${fixed(at[0])}" y="${fixed(at[1])}" ${attributes}>${escape(text)}</text>`;
/** Opening of a picture of this size: its element, its style, its background. */
export const openSvg = (width: number, height: number, title: string): readonly string[] => [
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(title).replaceAll('"', '&quot;')}">`, style(),
  `<rect class="back" width="${width}" height="${height}"/>`,
];

/** Moves positions apart by at least `gap`, keeping their order and, as far as that allows, their places. */
export function spread(positions: readonly number[], gap: number): number[] {
  const order = positions.map((_, i) => i).sort((a, b) => positions[a]! - positions[b]!);
  const out = [...positions];
  // groups of labels that touch are centred on where they want to be
  const groups: { members: number[]; at: number }[] = [];
  for (const i of order) {
    let group = { members: [i], at: positions[i]! };
    for (let last = groups.at(-1); last && group.at - last.at < (gap * (group.members.length + last.members.length)) / 2; last = groups.at(-1)) {
      groups.pop();
      const members = [...last.members, ...group.members];
      group = { members, at: members.reduce((s, m) => s + positions[m]!, 0) / members.length };
    }
    groups.push(group);
  }
  for (const { members, at } of groups) members.forEach((m, k) => { out[m] = at + (k - (members.length - 1) / 2) * gap; });
  return out;
}

/** The SVG of a plot; series without points are left out. */
export function svgPlot({ title, subtitle, series: all }: Plot): string {
  const series = all.filter((s) => s.points.length > 0), points = series.flatMap((s) => s.points);
  const most = Math.max(0.5, ...points.map((p) => p.sparsity)), speedups = [1, 1 / (1 - most), ...points.map((p) => p.speedup)];
  const low = Math.max(...speedupTicks.filter((t) => t <= Math.min(...speedups)), speedupTicks[0]!), high = Math.max(...speedups) * 1.1;
  const x = (sparsity: number): number => LEFT + ((WIDTH - LEFT - RIGHT) * Math.log(1 - sparsity)) / Math.log(1 - most);
  const y = (speedup: number): number => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * Math.log(Math.max(speedup, low) / low)) / Math.log(high / low);
  const right = WIDTH - RIGHT, bottom = HEIGHT - BOTTOM;
  const sorted = series.map((s) => [...s.points].sort((a, b) => a.sparsity - b.sparsity));
  const ends = spread([...sorted.map((p) => y(p.at(-1)!.speedup)), y(1 / (1 - most))], LABEL_HEIGHT);
  return [
    ...openSvg(WIDTH, HEIGHT, title), label([LEFT, 26], title, 'class="title"'), label([LEFT, 46], subtitle, 'class="faint"'),
    ...speedupTicks.filter((t) => t >= low && t <= high).flatMap((t) => [
      `<line class="${t === 1 ? 'parity' : 'grid'}" x1="${LEFT}" x2="${right}" y1="${fixed(y(t))}" y2="${fixed(y(t))}"/>`, label([LEFT - 8, y(t) + 4], `${t}x`, 'text-anchor="end"'),
    ]),
    ...sparsityTicks.filter((t) => t <= most).flatMap((t) => [
      `<line class="grid" x1="${fixed(x(t))}" x2="${fixed(x(t))}" y1="${TOP}" y2="${bottom}"/>`, label([x(t), bottom + 20], t === 0 ? 'dense' : `${Math.round(100 * t)} %`, 'text-anchor="middle"'),
    ]),
    label([(LEFT + right) / 2, HEIGHT - 14], 'share of zeros in what is pruned', 'class="faint" text-anchor="middle"'),
    `<line class="ideal" x1="${fixed(x(0))}" y1="${fixed(y(1))}" x2="${fixed(x(most))}" y2="${fixed(y(1 / (1 - most)))}"/>`,
    label([right + 10, ends.at(-1)! + 4], '1 / density', 'class="faint"'),
    ...sorted.flatMap((p, i) => {
      const c = `c${i % colours.length}`;
      return [
        `<polyline class="line ${c}" points="${p.map((q) => `${fixed(x(q.sparsity))},${fixed(y(q.speedup))}`).join(' ')}"/>`,
        ...p.map((q) => `<circle class="mark ${c}" cx="${fixed(x(q.sparsity))}" cy="${fixed(y(q.speedup))}" r="3.5"/>`),
        label([right + 10, ends[i]! + 4], `${series[i]!.name} ${p.at(-1)!.speedup.toPrecision(2)}x`, `class="${c}"`),
      ];
    }),
    '</svg>', '',
  ].join('\n');
}

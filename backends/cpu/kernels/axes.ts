/** Dimensions of a tensor as a walk through memory. */

/** A dimension by its extent and the distance of neighbours in memory. */
export interface Axis {
  readonly extent: number;
  readonly stride: number;
}

/** Axes from the outermost without those of extent 1, those that are one in memory joined. */
export const joinedAxes = (axes: readonly Axis[]): Axis[] => axes.filter((a) => a.extent !== 1).reduce<Axis[]>((done, a) => {
  const before = done.at(-1);
  return before?.stride === a.extent * a.stride ? [...done.slice(0, -1), { extent: before.extent * a.extent, stride: a.stride }] : [...done, a];
}, []);

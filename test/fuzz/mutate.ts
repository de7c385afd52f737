/** Damage to files: what disks, networks and hostile authors do to a model. Everything follows from the seed. */

/** A small deterministic generator (mulberry32): whole numbers below `n`. */
export function random(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

type Mutation = (bytes: Uint8Array, next: (n: number) => number) => Uint8Array;

const splice = (bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array => Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
const changed = (bytes: Uint8Array, at: number, f: (x: number) => number): Uint8Array => {
  const copy = Uint8Array.from(bytes);
  copy[at] = f(copy[at]!);
  return copy;
};
/** Values that parsers stumble over: ends of ranges, long varints, wire tags. */
const interesting = [0, 1, 0x7f, 0x80, 0xff, 0x08, 0x0a, 0x12, 0x3a];

const mutations: readonly Mutation[] = [
  (b, next) => changed(b, next(b.length), (x) => x ^ (1 << next(8))),
  (b, next) => changed(b, next(b.length), () => interesting[next(interesting.length)]!),
  (b, next) => changed(b, next(b.length), () => next(256)),
  (b, next) => b.subarray(0, next(b.length)),
  (b, next) => splice(b, next(b.length), 1 + next(16), new Uint8Array(0)),
  (b, next) => splice(b, next(b.length), 0, Uint8Array.from({ length: 1 + next(8) }, () => next(256))),
  (b, next) => { const from = next(b.length); return splice(b, next(b.length), 0, b.slice(from, from + 1 + next(64))); },
  (b, next) => splice(b, next(b.length), 0, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)),
];

/** The file with one to four damages. */
export function mutate(bytes: Uint8Array, seed: number): Uint8Array {
  const next = random(seed);
  let result = bytes;
  for (let rounds = 1 + next(4); rounds > 0 && result.length > 0; rounds--) result = mutations[next(mutations.length)]!(result, next);
  return result;
}

type Json = { [k: string]: unknown } | unknown[];
/** Numbers that sizes and indices are tried with. */
const numbers = [0, 1, -1, 2, 7, 255, 2 ** 31 - 1, -(2 ** 31), 2 ** 32, 2 ** 40, 2n ** 63n - 1n, -(2n ** 63n)];
const isLong = (x: unknown): boolean => typeof x === 'object' && x !== null && 'unsigned' in x;

/** The message as plain values, so that fields can be changed and encoded again. */
export function plain(x: unknown): unknown {
  if (isLong(x)) { const { low, high } = x as { low: number; high: number }; return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low >>> 0)); }
  if (x instanceof Uint8Array || typeof x !== 'object' || x === null) return x;
  return Array.isArray(x) ? x.map(plain) : Object.fromEntries(Object.entries(x).map(([k, v]) => [k, plain(v)]));
}

/** All places in a message where something can be changed: [holder, key]. */
function places(x: unknown, out: [Json, string | number][] = []): [Json, string | number][] {
  if (typeof x !== 'object' || x === null || x instanceof Uint8Array) return out;
  for (const [k, v] of Object.entries(x)) {
    out.push([x as Json, Array.isArray(x) ? Number(k) : k]);
    places(v, out);
  }
  return out;
}

/** Well-formed protobuf with senseless contents: other names, sizes, types, operators; entries lost or doubled. */
export function distort(model: unknown, seed: number): void {
  const next = random(seed);
  for (let rounds = 1 + next(4); rounds > 0; rounds--) {
    const all = places(model);
    const names = all.map(([h, k]) => (h as Record<string, unknown>)[k]).filter((v) => typeof v === 'string');
    const [holder, key] = all[next(all.length)]!;
    const record = holder as Record<string, unknown>, value = record[key];
    if (typeof value === 'bigint' || typeof value === 'number') record[key] = numbers[next(numbers.length)];
    else if (typeof value === 'string') record[key] = names[next(names.length)];
    else if (Array.isArray(value) && value.length > 0) {
      if (next(2)) value.splice(next(value.length), 1); else value.push(value[next(value.length)]);
    } else if (value instanceof Uint8Array) record[key] = value.subarray(next(value.length + 1));
    else if (!Array.isArray(holder)) delete record[key];
  }
}

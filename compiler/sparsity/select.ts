/** Choosing the largest, with ties to the lowest index: a rule, so that a projection has one answer on every machine. */

/**
 * The k-th largest of values[0..n), 1 <= k <= n (Hoare's quickselect; the values are reordered). Expected O(n).
 */
export function kthLargest(values: Float64Array, n: number, k: number): number {
  let low = 0, high = n - 1;
  const target = k - 1;
  while (low < high) {
    // median of three as the pivot: sorted and constant data are common among weights
    const a = values[low]!, b = values[(low + high) >>> 1]!, c = values[high]!;
    const pivot = Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
    let i = low, j = high;
    while (i <= j) {
      while (values[i]! > pivot) i++;
      while (values[j]! < pivot) j--;
      if (i <= j) {
        const t = values[i]!;
        values[i++] = values[j]!;
        values[j--] = t;
      }
    }
    if (target <= j) high = j;
    else if (target >= i) low = i;
    else break;
  }
  return values[target]!;
}

/** Calls `take` with the positions 0..n-1 of the `k` largest of values[0..n), in ascending order. `scratch` has room for n values. */
export function forLargest(values: Float64Array, n: number, k: number, scratch: Float64Array, take: (i: number) => void): void {
  if (k <= 0) return;
  if (k >= n) {
    for (let i = 0; i < n; i++) take(i);
    return;
  }
  for (let i = 0; i < n; i++) scratch[i] = values[i]!;
  const threshold = kthLargest(scratch, n, k);
  let ties = k;
  for (let i = 0; i < n; i++) if (values[i]! > threshold) ties--;
  for (let i = 0; i < n; i++) {
    const x = values[i]!;
    if (x > threshold || (x === threshold && ties-- > 0)) take(i);
  }
}

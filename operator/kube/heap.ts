// A binary heap: the smallest item in O(log n).

export class Heap<T> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    this.#items.push(item);
    this.#rise(this.#items.length - 1);
  }

  pop(): T | undefined {
    const first = this.#items[0];
    const last = this.#items.pop();
    if (first === undefined || last === undefined || this.#items.length === 0) return first;
    this.#items[0] = last;
    this.#sink(0);
    return first;
  }

  /** Drops every item that does not satisfy `keep`. */
  retain(keep: (item: T) => boolean): void {
    const kept = this.#items.filter(keep);
    this.#items.length = 0;
    for (const item of kept) this.push(item);
  }

  #rise(index: number): void {
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#swapIfBefore(index, parent)) return;
      index = parent;
    }
  }

  #sink(index: number): void {
    for (;;) {
      const left = index * 2 + 1;
      const right = left + 1;
      if (left >= this.#items.length) return;
      const child =
        right < this.#items.length && this.#isBefore(this.#items[right]!, this.#items[left]!) ? right : left;
      if (!this.#swapIfBefore(child, index)) return;
      index = child;
    }
  }

  #swapIfBefore(child: number, parent: number): boolean {
    const lower = this.#items[child]!;
    const upper = this.#items[parent]!;
    if (!this.#isBefore(lower, upper)) return false;
    this.#items[parent] = lower;
    this.#items[child] = upper;
    return true;
  }
}

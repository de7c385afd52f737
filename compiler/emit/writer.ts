/** Collects source lines with indentation. */
export class Writer {
  private readonly lines: string[] = [];
  private depth = 0;

  line(text = ''): this {
    this.lines.push(text === '' ? '' : '  '.repeat(this.depth) + text);
    return this;
  }
  /** `head {`, the body one level deeper, `}` and `tail`. */
  block(head: string, body: () => void, tail = ''): this {
    this.line(`${head} {`);
    this.depth++;
    body();
    this.depth--;
    return this.line(`}${tail}`);
  }
  text(): string {
    return `${this.lines.join('\n')}\n`;
  }
}

/** A C identifier made of `text`. */
export function identifier(text: string): string {
  const id = text.replace(/[^A-Za-z0-9_]+/g, '_').replace(/^_+|_+$/g, '').toLowerCase();
  return /^[a-z_]/.test(id) ? id : `n${id}`;
}

/** Text that cannot end or nest a C comment. */
export const commentSafe = (text: string): string => text.replace(/\*\//g, '* /').replace(/\/\*/g, '/ *').replace(/[\r\n]+/g, ' ').replace(/\?\?/g, '? ?').replace(/\\/g, '/');

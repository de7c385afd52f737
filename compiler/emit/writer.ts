/** Collects source lines with indentation. */
export class Writer {
  private readonly lines: string[] = [];
  private depth = 0;

  line(text = ''): this {
    this.lines.push(text === '' ? '' : '  '.repeat(this.depth) + text);
    return this;
  }
  /** `head {` (or just a brace), the body one level deeper, `}` and `tail`. */
  block(head: string, body: () => void, tail = ''): this {
    this.line(head === '' ? '{' : `${head} {`);
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

/** What the symbols and files of a model for one of several instruction sets begin with. */
export const pathName = (model: string, arch: string): string => `${model}_${identifier(arch)}`;

/** Names that a model's files and functions cannot have: they are the program's, the language's or those of its headers. */
const reservedNames: ReadonlySet<string> = new Set(['main', 'std', 'hls', ...(
  'alignas alignof and asm auto bool break case catch char class const continue default delete do double else enum explicit export extern false '
  + 'float for friend goto if inline int long mutable namespace new noexcept not nullptr operator or private protected public register restrict '
  + 'return short signed sizeof static struct switch template this throw true try typedef typeid typename union unsigned using virtual void '
  + 'volatile wchar_t while xor '
  + 'alloca assert complex ctype endian errno features fenv immintrin inttypes iso646 limits locale malloc math memory pthread sched setjmp signal '
  + 'stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings tgmath threads time uchar unistd wchar wctype').split(' ')]);

/** The identifier that every symbol and file of a model begins with. */
export function modelIdentifier(text: string): string {
  const id = identifier(text);
  // spc_... is the runtime's: its files, and types such as spc_model_info
  return reservedNames.has(id) ? `${id}_model` : /^spc(_|$)/.test(id) ? `model_${id}` : id;
}

/** Text that cannot end or nest a C comment. */
export const commentSafe = (text: string): string => text.replace(/\*\//g, '* /').replace(/\/\*/g, '/ *').replace(/[\r\n]+/g, ' ').replace(/\?\?/g, '? ?').replace(/\\/g, '/');

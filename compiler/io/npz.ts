/**
 * NumPy's .npz files: ZIP archives of .npy members. The part of ZIP (APPNOTE 6.3.x) that they use: stored and deflated members,
 * sizes below 4 GiB.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { DenseTensor, Tensor } from '../ir/tensor.js';
import { dataError } from './errors.js';
import { decodeNpy, encodeNpy } from './npy.js';

const LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50;
const END_SIZE = 22, CENTRAL_SIZE = 46, LOCAL_SIZE = 30;
/** 1980-01-01, the earliest date that ZIP knows: archives must not differ from run to run. */
const DOS_DATE = 0x0021;

/** @returns the tensors by name (the member's name without `.npy`), in the archive's order */
export function decodeNpz(file: Uint8Array, what: string): ReadonlyMap<string, DenseTensor> {
  return new Map([...unzip(file, what)].map(([name, bytes]) => [name.replace(/\.npy$/, ''), decodeNpy(bytes, `${what}:${name}`)]));
}

export function encodeNpz(tensors: ReadonlyMap<string, Tensor>, options: { readonly compress?: boolean } = {}): Uint8Array {
  return zip([...tensors].map(([name, t]) => [`${name}.npy`, encodeNpy(t)]), options.compress ?? false);
}

function unzip(file: Uint8Array, what: string): Map<string, Uint8Array> {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const broken = (why: string): Error => dataError('SPC6102', `${what}: is not a readable .npz file (${why})`);
  try {
    let end = bytes.length - END_SIZE;
    while (end >= 0 && bytes.readUInt32LE(end) !== END) end--;
    if (end < 0) throw broken('no ZIP directory at its end');
    const members = new Map<string, Uint8Array>();
    let at = bytes.readUInt32LE(end + 16);
    for (let n = bytes.readUInt16LE(end + 10); n > 0; n--) {
      if (bytes.readUInt32LE(at) !== CENTRAL) throw broken('its directory is damaged');
      const method = bytes.readUInt16LE(at + 10), checksum = bytes.readUInt32LE(at + 16);
      const packedSize = bytes.readUInt32LE(at + 20), size = bytes.readUInt32LE(at + 24);
      const nameSize = bytes.readUInt16LE(at + 28), local = bytes.readUInt32LE(at + 42);
      const name = bytes.toString('utf8', at + CENTRAL_SIZE, at + CENTRAL_SIZE + nameSize);
      if (packedSize === 0xffffffff || size === 0xffffffff) throw broken(`member ${name} needs ZIP64`);
      if (bytes.readUInt32LE(local) !== LOCAL) throw broken(`member ${name} is damaged`);
      const start = local + LOCAL_SIZE + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
      const packed = bytes.subarray(start, start + packedSize);
      if (method !== 0 && method !== 8) throw broken(`member ${name} uses compression method ${method}`);
      // The limit keeps a damaged or hostile member from growing past the size that it declares.
      const data = method === 8 ? inflateRawSync(packed, { maxOutputLength: Math.max(size, 1) }) : packed;
      if (data.length !== size || crc32(data) !== checksum) throw broken(`member ${name} has a wrong size or checksum`);
      members.set(name, data);
      at += CENTRAL_SIZE + nameSize + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
    }
    return members;
  } catch (error) {
    // Node reports reads past the end and bad deflate streams as RangeError or Error with a code.
    if (error instanceof Error && 'code' in error) throw broken(error.message);
    throw error;
  }
}

function zip(members: readonly (readonly [string, Uint8Array])[], compress: boolean): Uint8Array {
  const parts: Uint8Array[] = [], directory: Uint8Array[] = [];
  let offset = 0;
  for (const [name, data] of members) {
    const packed = compress ? deflateRawSync(data) : data;
    const nameBytes = Buffer.from(name);
    // Fields 4..30 of a local header are fields 6..32 of a directory entry.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x0800, 2); // the name is UTF-8
    common.writeUInt16LE(compress ? 8 : 0, 4);
    common.writeUInt16LE(DOS_DATE, 8);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(nameBytes.length, 22);
    parts.push(u32(LOCAL), common, nameBytes, packed);
    directory.push(u32(CENTRAL), Buffer.from([20, 0]), common, Buffer.alloc(10), u32(offset), nameBytes);
    offset += LOCAL_SIZE + nameBytes.length + packed.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(END_SIZE);
  end.writeUInt32LE(END, 0);
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}

function u32(x: number): Buffer {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(x);
  return b;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** CRC-32 as ZIP has it (node:zlib has one only from Node 22). */
export function crc32(data: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of data) c = crcTable[(c ^ byte) & 0xff]! ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

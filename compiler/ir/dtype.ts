/**
 * Element types, how each is stored in JavaScript, and their widths.
 *
 * f16 and bf16 are stored as their bit patterns (Uint16Array); bool as 0/1 bytes; 64-bit integers as BigInt arrays, so that
 * no element ever loses bits on its way through the compiler.
 */
export type DType =
  | 'f32' | 'f64' | 'f16' | 'bf16'
  | 'i8' | 'i16' | 'i32' | 'i64'
  | 'u8' | 'u16' | 'u32' | 'u64'
  | 'bool';

export type TypedArray =
  | Float32Array | Float64Array | Uint16Array
  | Int8Array | Int16Array | Int32Array | BigInt64Array
  | Uint8Array | Uint32Array | BigUint64Array;

/** What an element type is: its width in bytes, its family and its storage. */
export interface DTypeInfo {
  readonly bytes: number;
  readonly family: 'float' | 'int' | 'uint' | 'bool';
  readonly array: new (arg: number | ArrayBuffer, byteOffset?: number, length?: number) => TypedArray;
}

type ArrayConstructor = DTypeInfo['array'];

export const dtypes: { readonly [D in DType]: DTypeInfo } = {
  f32: { bytes: 4, family: 'float', array: Float32Array as ArrayConstructor },
  f64: { bytes: 8, family: 'float', array: Float64Array as ArrayConstructor },
  f16: { bytes: 2, family: 'float', array: Uint16Array as ArrayConstructor },
  bf16: { bytes: 2, family: 'float', array: Uint16Array as ArrayConstructor },
  i8: { bytes: 1, family: 'int', array: Int8Array as ArrayConstructor },
  i16: { bytes: 2, family: 'int', array: Int16Array as ArrayConstructor },
  i32: { bytes: 4, family: 'int', array: Int32Array as ArrayConstructor },
  i64: { bytes: 8, family: 'int', array: BigInt64Array as ArrayConstructor },
  u8: { bytes: 1, family: 'uint', array: Uint8Array as ArrayConstructor },
  u16: { bytes: 2, family: 'uint', array: Uint16Array as ArrayConstructor },
  u32: { bytes: 4, family: 'uint', array: Uint32Array as ArrayConstructor },
  u64: { bytes: 8, family: 'uint', array: BigUint64Array as ArrayConstructor },
  bool: { bytes: 1, family: 'bool', array: Uint8Array as ArrayConstructor },
};

export const isFloat = (d: DType): boolean => dtypes[d].family === 'float';
export const isInteger = (d: DType): boolean => dtypes[d].family === 'int' || dtypes[d].family === 'uint';

/** Smallest and largest value of an integer type. */
export function integerRange(d: DType): { readonly min: bigint; readonly max: bigint } {
  const bits = BigInt(dtypes[d].bytes * 8);
  return dtypes[d].family === 'int'
    ? { min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n }
    : { min: 0n, max: (1n << bits) - 1n };
}

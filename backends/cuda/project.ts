/** The CMake project around the CUDA source: nvcc where it is found, else the emulation on the host. */
import type { GpuName } from './gpu.js';

/** Flags of the host compiler for the emulation. -fwrapv: ONNX integers wrap. */
export const emulationFlags = ['-std=c++17', '-O2', '-fwrapv', '-ffp-contract=off'] as const;
/** Flags of nvcc, where CMake is not used. */
export const nvccFlags = (arch: GpuName): readonly string[] => ['-std=c++17', '-O3', '-gencode', `arch=${arch.replace('sm', 'compute')},code=${arch}`];

const number = (arch: GpuName): string => arch.replace('sm_', '');

/** @param paths the source of each architecture, <name>.cu; where there are several, the model's own functions are in another */
export function cmakeFile(name: string, paths: readonly { readonly arch: GpuName; readonly name: string }[]): string {
  const several = paths.length > 1, sources = [...new Set([...paths.map((p) => p.name), name])];
  const objects = paths.map((p) => `add_library(${p.name} OBJECT ${p.name}.cu)
set_target_properties(${p.name} PROPERTIES CXX_STANDARD 17 CUDA_STANDARD 17 POSITION_INDEPENDENT_CODE ON CUDA_ARCHITECTURES ${number(p.arch)})
`).join('');
  return `# Written by spc. A static library of the model, and a program that runs it on raw files.
# Without a CUDA compiler (or with -DSPC_EMULATE=ON) kernels run on the CPU, in an emulation of the CUDA execution model.
cmake_minimum_required(VERSION 3.18)
project(${name} C CXX)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
include(CheckLanguage)
option(SPC_EMULATE "run kernels on the CPU" OFF)
if(NOT SPC_EMULATE)
  check_language(CUDA)
endif()
if(CMAKE_CUDA_COMPILER AND NOT SPC_EMULATE)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES ${number(paths.at(-1)!.arch)})
  endif()
  enable_language(CUDA)
else()
  message(STATUS "no CUDA compiler: ${name} is built for the emulation")
  set_source_files_properties(${sources.map((s) => `${s}.cu`).join(' ')} PROPERTIES LANGUAGE CXX COMPILE_FLAGS "-x c++ ${emulationFlags.join(' ')}")
endif()

${several ? objects : ''}add_library(${name} ${[`${name}.cu`, ...(several ? paths.map((p) => `$<TARGET_OBJECTS:${p.name}>`) : [])].join(' ')})
set_target_properties(${name} PROPERTIES CXX_STANDARD 17 CUDA_STANDARD 17 POSITION_INDEPENDENT_CODE ON)
target_include_directories(${name} PUBLIC \${CMAKE_CURRENT_SOURCE_DIR})

add_executable(${name}_main main.c)
target_link_libraries(${name}_main PRIVATE ${name})
set_target_properties(${name}_main PROPERTIES LINKER_LANGUAGE CXX)
`;
}

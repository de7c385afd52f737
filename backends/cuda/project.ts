/** The CMake project around the CUDA source: nvcc where it is found, else the emulation on the host. */
import type { GpuName } from './gpu.js';

/** Flags of the host compiler for the emulation. -fwrapv: ONNX integers wrap. */
export const emulationFlags = ['-std=c++17', '-O2', '-fwrapv', '-ffp-contract=off'] as const;
/** Flags of nvcc, where CMake is not used. */
export const nvccFlags = (archs: readonly GpuName[]): readonly string[] => ['-std=c++17', '-O3', ...archs.flatMap((a) => ['-gencode', `arch=${a.replace('sm', 'compute')},code=${a}`])];

export const cmakeFile = (name: string, archs: readonly GpuName[]): string => `# Written by spc. A static library of the model, and a program that runs it on raw files.
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
    set(CMAKE_CUDA_ARCHITECTURES ${archs.map((a) => a.replace('sm_', '')).join(' ')})
  endif()
  enable_language(CUDA)
else()
  message(STATUS "no CUDA compiler: ${name} is built for the emulation")
  set_source_files_properties(${name}.cu PROPERTIES LANGUAGE CXX COMPILE_FLAGS "-x c++ ${emulationFlags.join(' ')}")
endif()

add_library(${name} ${name}.cu)
set_target_properties(${name} PROPERTIES CXX_STANDARD 17 CUDA_STANDARD 17 POSITION_INDEPENDENT_CODE ON)
target_include_directories(${name} PUBLIC \${CMAKE_CURRENT_SOURCE_DIR})

add_executable(${name}_main main.c)
target_link_libraries(${name}_main PRIVATE ${name})
set_target_properties(${name}_main PROPERTIES LINKER_LANGUAGE CXX)
`;

/** The CMake project around the code. */
import type { Isa } from './isa.js';

/** Flags that the code was measured with. -fwrapv: ONNX integers wrap. The math flags change no result that C defines here. */
export const compileFlags = (isa: Isa): string[] =>
  ['-std=c11', '-O3', ...isa.flags, '-ffp-contract=fast', '-fno-math-errno', '-fno-trapping-math', '-fwrapv', '-Wno-psabi'];

/** @param files names of all files of the project but this one */
export function cmakeFile(name: string, isa: Isa, files: readonly string[]): string {
  const sources = files.filter((f) => /\.[cS]$/.test(f) && f !== 'main.c');
  // .incbin is the assembler's: no compiler tells what it read
  const binaries = sources.flatMap((source) => { const binary = source.replace(/\.[cS]$/, '.bin'); return files.includes(binary) ? [{ source, binary }] : []; });
  return `# Written by spc. A static library of the model, and a program that runs it on raw files.
cmake_minimum_required(VERSION 3.13)
project(${name} C${sources.some((s) => s.endsWith('.S')) ? ' ASM' : ''})
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
find_package(Threads REQUIRED)

add_library(${name} ${sources.join(' ')})
target_include_directories(${name} PUBLIC \${CMAKE_CURRENT_SOURCE_DIR})
target_compile_options(${name} PRIVATE ${compileFlags(isa).join(' ')})
target_compile_definitions(${name} PRIVATE "SPC_WEIGHTS_FILE=\\"\${CMAKE_CURRENT_SOURCE_DIR}/${name}_weights.bin\\"")
target_link_libraries(${name} PUBLIC Threads::Threads m)
set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
${binaries.map(({ source, binary }) => `set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS "\${CMAKE_CURRENT_SOURCE_DIR}/${binary}")\n`).join('')}
add_executable(${name}_main main.c)
target_link_libraries(${name}_main PRIVATE ${name})
`;
}

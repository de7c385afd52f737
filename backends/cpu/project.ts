/** The CMake project around the code. */
import type { Isa } from './isa.js';

/** Flags that the code was measured with. -fwrapv: ONNX integers wrap. The math flags change no result that C defines here. */
export const compileFlags = (isa?: Isa): string[] =>
  ['-std=c11', '-O3', ...(isa?.flags ?? []), '-ffp-contract=fast', '-fno-math-errno', '-fno-trapping-math', '-fwrapv', '-Wno-psabi'];

/** Sources that are compiled for an instruction set of their own. */
export interface PathSources {
  readonly isa: Isa;
  readonly sources: readonly string[];
}

/**
 * @param files names of all files of the project but this one
 * @param paths the instruction set of all sources, or those of some
 */
export function cmakeFile(name: string, paths: Isa | readonly PathSources[], files: readonly string[]): string {
  const single = 'flags' in paths ? paths : undefined, several = 'flags' in paths ? [] : paths;
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
target_compile_options(${name} PRIVATE ${compileFlags(single).join(' ')})
target_compile_definitions(${name} PRIVATE "SPC_WEIGHTS_FILE=\\"\${CMAKE_CURRENT_SOURCE_DIR}/${name}_weights.bin\\"")
target_link_libraries(${name} PUBLIC Threads::Threads m)
set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
${binaries.map(({ source, binary }) => `set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS "\${CMAKE_CURRENT_SOURCE_DIR}/${binary}")\n`).join('')}${several.filter((p) => p.isa.flags.length > 0).map((p) => `set_source_files_properties(${p.sources.filter((s) => s.endsWith('.c')).join(' ')} PROPERTIES COMPILE_OPTIONS "${p.isa.flags.join(';')}")\n`).join('')}
add_executable(${name}_main main.c)
target_link_libraries(${name}_main PRIVATE ${name})
`;
}

/** The files around the design: test bench, Makefile for C simulation, script for Vitis HLS. */
import { Writer } from '../../compiler/emit/writer.js';
import type { Plan } from '../../compiler/plan/types.js';
import { hlsDialect } from './dialect.js';
import { portSizes } from './top.js';

/** Flags of C simulation. -fwrapv: ONNX integers wrap. */
export const simulationFlags = ['-std=c++14', '-O2', '-fwrapv', '-Wall', '-Wextra', '-Wno-unknown-pragmas'] as const;

/** Raw row-major tensors in from files, <output index>.bin out: the same command line as the other targets' main programs. */
export function testBench(plan: Plan, name: string, top: string): string {
  const sizes = portSizes(plan);
  const type = (p: Plan['inputs'][number]): string => hlsDialect.storage[p.type.dtype];
  const w = new Writer();
  w.line(`${top}/* usage: ${name}_csim input0.bin input1.bin ... ; raw row-major tensors in, <output index>.bin out. */`);
  for (const include of ['<cstdio>', '<vector>', `"${name}.h"`]) w.line(`#include ${include}`);
  w.line();
  w.block('static int fail(const char *what, const char *file)', () => {
    w.line(`std::fprintf(stderr, "${name}_csim: %s%s\\n", what, file);`).line('return 1;');
  });
  w.line();
  w.block('template <class T> static bool load(const char *path, long count, hls::stream<T> &to)', () => {
    w.line('std::FILE *f = std::fopen(path, "rb");').line('if (!f) return false;').line('std::vector<T> values(count);');
    w.line('const bool ok = std::fread(values.data(), sizeof(T), values.size(), f) == values.size();').line('std::fclose(f);');
    w.line('for (size_t i = 0; ok && i < values.size(); ++i) to.write(values[i]);').line('return ok;');
  });
  w.line();
  w.block('template <class T> static bool save(const char *path, long count, hls::stream<T> &from)', () => {
    w.line('std::FILE *f = std::fopen(path, "wb");').line('if (!f) return false;').line('bool ok = true;');
    w.block('for (long i = 0; i < count; ++i)', () => { w.line('const T value = from.read();').line('ok = std::fwrite(&value, sizeof value, 1, f) == 1 && ok;'); });
    w.line('return std::fclose(f) == 0 && ok;');
  });
  w.line();
  w.block('int main(int argc, char **argv)', () => {
    w.line(`if (argc != ${plan.inputs.length + 1}) return fail("wrong number of input files", "");`);
    if (plan.inputs.length === 0) w.line('(void)argv;');
    plan.inputs.forEach((p, i) => w.line(`hls::stream<${type(p)}> in${i}("in${i}");`));
    plan.outputs.forEach((p, i) => w.line(`hls::stream<${type(p)}> out${i}("out${i}");`));
    plan.inputs.forEach((_, i) => w.line(`if (!load(argv[${i + 1}], ${sizes.inputs[i]}, in${i})) return fail("cannot read ", argv[${i + 1}]);`));
    w.line(`${name}(${[...plan.inputs.map((_, i) => `in${i}`), ...plan.outputs.map((_, i) => `out${i}`)].join(', ')});`);
    plan.outputs.forEach((_, i) => w.line(`if (!save("${i}.bin", ${sizes.outputs[i]}, out${i})) return fail("cannot write ", "${i}.bin");`));
    w.line('return 0;');
  });
  return w.text();
}

export const makefile = (name: string): string => `# Written by spc. C simulation with any C++14 compiler (no Vitis needed):
#   make csim INPUTS="input0.bin ..."
# Synthesis with Vitis HLS: vitis_hls -f ${name}.tcl
CXX ?= g++
CXXFLAGS ?= ${simulationFlags.slice(1).join(' ')}

build: ${name}_csim
${name}_csim: ${name}.cpp ${name}_tb.cpp ${name}.h ${name}_weights.h
	$(CXX) -std=c++14 -Iap_shim -I. $(CXXFLAGS) ${name}.cpp ${name}_tb.cpp -o $@
csim: build
	./${name}_csim $(INPUTS)
clean:
	rm -f ${name}_csim
.PHONY: build csim clean
`;

export const vitisScript = (name: string): string => `# Written by spc. Vitis HLS: C simulation and synthesis of ${name}.
#   vitis_hls -f ${name}.tcl                     part and clock below are examples: set SPC_PART and SPC_CLOCK (ns)
set part  [expr {[info exists env(SPC_PART)]  ? $env(SPC_PART)  : "xczu9eg-ffvb1156-2-e"}]
set clock [expr {[info exists env(SPC_CLOCK)] ? $env(SPC_CLOCK) : "5"}]
set flags "-std=c++14 -I."
open_project -reset ${name}_hls
set_top ${name}
add_files ${name}.cpp -cflags $flags
add_files -tb ${name}_tb.cpp -cflags $flags
open_solution -reset solution1 -flow_target vivado
set_part $part
create_clock -period $clock
# an argument string for the test bench, e.g. SPC_INPUTS="/path/input0.bin"
if {[info exists env(SPC_INPUTS)]} { csim_design -argv $env(SPC_INPUTS) }
csynth_design
exit
`;

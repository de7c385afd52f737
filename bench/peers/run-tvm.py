"""TVM: its ONNX importer and default pipeline for LLVM at optimisation level 3, schedules not tuned; timed by its own evaluator."""
import os

from protocol import Engine, serve


def prepare(job):
    os.environ['TVM_NUM_THREADS'] = str(job['threads'])
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    cpu = job['isa'] or tvm.target.codegen.llvm_get_system_cpu()
    module = from_onnx(onnx.load(job['model']), keep_params_in_input=False)
    target = tvm.target.Target({'kind': 'llvm', 'mcpu': cpu, 'num-cores': job['threads']})
    with tvm.transform.PassContext(opt_level=3):
        built = tvm.compile(module, target=target)
    device = tvm.cpu()
    machine = relax.VirtualMachine(built, device)
    inputs = [tvm.runtime.tensor(array, device) for array in job['arrays']]
    result = machine['main'](*inputs)
    outputs = [o.numpy() for o in ([result] if hasattr(result, 'numpy') else result)]

    def timed(runs):
        return machine.time_evaluator('main', device, number=runs, repeat=1)(*inputs).mean * runs

    return Engine(outputs, timed, f'TVM {tvm.__version__}: llvm -mcpu={cpu}, level 3, not tuned')


serve(prepare)

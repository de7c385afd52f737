"""OpenVINO through its C interface, which its wheel has: a call of the Python one takes longer than a small network."""
import ctypes
import glob
import os
import time
from importlib.metadata import version
from importlib.util import find_spec

import numpy
from protocol import Engine, serve

# Single precision as everywhere else (the default is bf16 where the CPU has it); waiting for one answer, one thread.
SETTINGS = {'PERFORMANCE_HINT': 'LATENCY', 'NUM_STREAMS': '1', 'INFERENCE_PRECISION_HINT': 'f32'}

STRING = ctypes.c_char_p


def library():
    package = os.path.dirname(find_spec('openvino').origin)
    return ctypes.CDLL(glob.glob(os.path.join(package, 'libs', 'libopenvino_c.so*'))[0])


def prepare(job):
    restriction = {} if job['isa'] is None else {'ONEDNN_MAX_CPU_ISA': {'x86-64-v3': 'AVX2', 'x86-64-v4': 'AVX512_CORE'}[job['isa']]}
    os.environ.update(restriction)
    lib = library()
    lib.ov_get_last_err_msg.restype = STRING

    def call(name, *args):
        status = getattr(lib, name)(*args)
        if status != 0:
            raise RuntimeError(f"{name}: {(lib.ov_get_last_err_msg() or b'').decode() or status}")

    def create(name, *args):
        made = ctypes.c_void_p()
        call(name, *args, ctypes.byref(made))
        return made

    settings = {**SETTINGS, 'INFERENCE_NUM_THREADS': str(job['threads'])}
    words = [STRING(word.encode()) for pair in settings.items() for word in pair]
    core = create('ov_core_create')
    model = create('ov_core_read_model', core, STRING(job['model'].encode()), None)
    compiled = ctypes.c_void_p()
    call('ov_core_compile_model', core, model, STRING(b'CPU'), ctypes.c_size_t(len(words)), ctypes.byref(compiled), *words)
    request = create('ov_compiled_model_create_infer_request', compiled)

    def view(kind, index, port):
        """The memory of an input or output as an array."""
        tensor = create(f'ov_infer_request_get_{kind}_tensor_by_index', request, ctypes.c_size_t(index))
        address, size = ctypes.c_void_p(), ctypes.c_size_t()
        call('ov_tensor_data', tensor, ctypes.byref(address))
        call('ov_tensor_get_byte_size', tensor, ctypes.byref(size))
        dtype = numpy.dtype(port['dtype'])
        if size.value != dtype.itemsize * int(numpy.prod(port['shape'])):
            raise TypeError(f"{port['name']} has {size.value} bytes, not {port['dtype']}{port['shape']}")
        return numpy.frombuffer((ctypes.c_uint8 * size.value).from_address(address.value), dtype).reshape(port['shape'])

    for index, (port, array) in enumerate(zip(job['inputs'], job['arrays'])):
        view('input', index, port)[...] = array
    call('ov_infer_request_infer', request)
    infer = lib.ov_infer_request_infer

    def timed(runs):
        start = time.perf_counter()
        for _ in range(runs):
            if infer(request):
                raise RuntimeError('an inference failed while it was timed')
        return time.perf_counter() - start

    outputs = [view('output', index, port).copy() for index, port in enumerate(job['outputs'])]
    return Engine(outputs, timed, f"OpenVINO {version('openvino')}: " + ', '.join(f'{key}={value}' for key, value in {**settings, **restriction}.items()))


serve(prepare)

"""DeepSparse as its own benchmark utility calls it: Engine.run on the same arrays, threads bound to cores, scenario `sync`."""
import os
import time

os.environ['NM_DISABLE_ANALYTICS'] = '1'
os.environ['NM_BIND_THREADS_TO_CORES'] = '1'

from protocol import Engine, serve  # noqa: E402  the library prints when it is loaded


def prepare(job):
    if job['isa'] is not None:
        os.environ['NM_ARCH'] = {'x86-64-v3': 'avx2', 'x86-64-v4': 'avx512'}[job['isa']]
    import deepsparse

    engine = deepsparse.Engine(job['model'], batch_size=job['batch'], num_cores=job['threads'], scheduler=deepsparse.Scheduler.single_stream)
    inputs = job['arrays']
    outputs = engine.run(inputs)

    def timed(runs):
        start = time.perf_counter()
        for _ in range(runs):
            engine.run(inputs, val_inp=False)
        return time.perf_counter() - start

    about = f'DeepSparse {deepsparse.__version__}: {engine.cpu_avx_type}, {100 * engine.fraction_of_supported_ops:.0f} % of operations in its own engine'
    return Engine(outputs, timed, about)


serve(prepare)

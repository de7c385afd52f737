"""
What the benchmark and a peer's script say to each other: one JSON record a line.

The job (a file, named by the only argument) has the model's path, its inputs and outputs ({name, dtype, shape}, dtype as NumPy
spells it) and files for their data, raw and in C order, one file a port. The script loads the model, runs it once, writes the
outputs and answers {"about": what runs, how it is set up}. Each request "N" after that is answered with {"seconds": time of N
back-to-back inferences}. Anything that goes wrong is answered with {"error": text}.
"""
import json
import os
import signal
import sys
from collections import namedtuple

# libraries greet on standard output, which carries the answers: from here on their words go to standard error
_answers = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)

PREPARE_SECONDS = 240

# outputs: arrays in the order of the job's; time(runs): seconds; about: text
Engine = namedtuple('Engine', ['outputs', 'time', 'about'])


def _answer(record):
    print(json.dumps(record), file=_answers, flush=True)


def _too_long(*_):
    raise TimeoutError(f'not ready after {PREPARE_SECONDS} s')


def _load(job):
    import numpy

    with open(job) as file:
        job = json.load(file)
    job['arrays'] = [numpy.fromfile(p['file'], dtype=p['dtype']).reshape(p['shape']) for p in job['inputs']]
    return job


def _save(job, outputs):
    import numpy

    for port, array in zip(job['outputs'], outputs, strict=True):
        if list(array.shape) != port['shape'] or array.dtype != port['dtype']:
            raise TypeError(f"output {port['name']} is {array.dtype}{list(array.shape)}, not {port['dtype']}{port['shape']}")
        numpy.ascontiguousarray(array).tofile(port['file'])


def serve(prepare):
    """prepare(job) -> Engine, where job['arrays'] are the inputs"""
    signal.signal(signal.SIGALRM, _too_long)
    try:
        signal.alarm(PREPARE_SECONDS)
        job = _load(sys.argv[1])
        engine = prepare(job)
        _save(job, engine.outputs)
        signal.alarm(0)
        _answer({'about': engine.about})
        for line in sys.stdin:
            _answer({'seconds': engine.time(int(line))})
    except Exception as error:
        _answer({'error': f'{type(error).__name__}: {error}'})
        raise

"""Measures OpenVINO for `cargo xtask bench infer`.

With `--hint latency` one batch uses all threads. With `--hint throughput` several
batches run at once; OpenVINO chooses how many.
"""

import numpy
import openvino
from protocol import arguments, serve

options = arguments("onnx", "threads", "hint", "precision")
core = openvino.Core()
model = core.compile_model(
    core.read_model(options.onnx),
    "CPU",
    {
        "PERFORMANCE_HINT": options.hint.upper(),
        "INFERENCE_NUM_THREADS": options.threads,
        "INFERENCE_PRECISION_HINT": options.precision,
    },
)
images = numpy.random.default_rng(0).standard_normal(list(model.input(0).shape), dtype=numpy.float32)
if options.hint == "throughput":
    queue = openvino.AsyncInferQueue(model)

    def steps(count):
        for _ in range(count):
            queue.start_async({0: images}, share_inputs=True)
        queue.wait_all()

else:
    request = model.create_infer_request()

    def steps(count):
        for _ in range(count):
            request.infer({0: images}, share_inputs=True)


serve(steps)

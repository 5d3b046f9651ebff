"""Measures onnxruntime for `cargo xtask bench infer`: float32, with all graph optimisations."""

import numpy
import onnxruntime
from protocol import arguments, serve

options = arguments("onnx", "threads")
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = options.threads
settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
session = onnxruntime.InferenceSession(options.onnx, settings, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
images = numpy.random.default_rng(0).standard_normal(entry.shape, dtype=numpy.float32)


def steps(count):
    for _ in range(count):
        session.run(None, {entry.name: images})


serve(steps)

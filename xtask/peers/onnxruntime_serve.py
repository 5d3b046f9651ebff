"""Serves an ONNX network with FastAPI, uvicorn and onnxruntime, for `cargo xtask bench serve`.

usage: python onnxruntime_serve.py --onnx FILE --size PIXELS --port PORT --workers N

This process only starts the workers; onnxruntime_app.py is what they run.
"""

import argparse
import os

import uvicorn

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--onnx", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    options = parser.parse_args()
    os.environ["PEER_ONNX"] = options.onnx
    os.environ["PEER_SIZE"] = str(options.size)
    uvicorn.run(
        "onnxruntime_app:app",
        app_dir=os.path.dirname(os.path.abspath(__file__)),
        port=options.port,
        workers=options.workers,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )

"""A worker of onnxruntime_serve.py: one process with one thread for the network.

The network is exported with its preprocessing, so it takes the bytes of fitted images. Handlers run in the event loop:
with one core for each worker, handing images to other threads costs more than it gains. JPEG files are decoded at
reduced size (PIL's draft mode).
"""

import base64
import io
import os

import numpy
import onnxruntime
from fastapi import FastAPI, Request
from PIL import Image

SIZE = (int(os.environ["PEER_SIZE"]),) * 2

app = FastAPI()
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = 1
settings.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["PEER_ONNX"], settings, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0].name


def probabilities(file):
    image = Image.open(io.BytesIO(file))
    image.draft("RGB", SIZE)
    image = image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
    logits = session.run(None, {entry: numpy.asarray(image)[None]})[0][0]
    shares = numpy.exp(logits - logits.max())
    return shares / shares.sum()


@app.post("/v1/predict")
async def predict(request: Request):
    shares = probabilities(await request.body())
    label = int(shares.argmax())
    return {"model": "m", "label": str(label), "score": float(shares[label])}


@app.post("/v1/models/m:predict")
async def predict_json(request: Request):
    predictions = []
    for instance in (await request.json())["instances"]:
        shares = probabilities(base64.b64decode(instance["b64"]))
        label = int(shares.argmax())
        predictions.append(
            {"label": str(label), "score": float(shares[label]), "probabilities": shares.tolist()}
        )
    return {"predictions": predictions}

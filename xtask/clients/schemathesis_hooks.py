"""What schemathesis cannot know from openapi.json: files that are images, and tensors with as many elements as their
shape says.

Environment: SERVER, the address of the server.
"""

import base64
import io
import json
import os
import urllib.request

import schemathesis
from hypothesis import strategies
from PIL import Image

with urllib.request.urlopen(f"http://{os.environ['SERVER']}/v1/models") as answer:
    MODEL = json.load(answer)["models"][0]
HEIGHT, WIDTH = MODEL["image_size"]


def image(kind, mode, size):
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(file, kind)
    return file.getvalue()


PNG = [image("PNG", "L", (28, 28)), image("PNG", "RGB", (3, 40)), image("PNG", "RGBA", (1, 1))]
JPEG = [image("JPEG", "L", (28, 28)), image("JPEG", "RGB", (50, 20))]

schemathesis.openapi.media_type("image/png", strategies.sampled_from(PNG))
schemathesis.openapi.media_type("image/jpeg", strategies.sampled_from(JPEG))
schemathesis.openapi.media_type("application/octet-stream", strategies.sampled_from(PNG + JPEG))
encoded = [base64.b64encode(file).decode() for file in PNG + JPEG]
schemathesis.openapi.format("base64-image", strategies.sampled_from(encoded))


@schemathesis.deserializer("application/octet-stream")
def binary(context, response):
    return response.content.decode("latin-1")


@schemathesis.hook
def map_case(context, case):
    """Makes the tensors of right inference requests as long as their shapes, and versions known."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    if "{version}" in case.path:
        case.path_parameters = {"model": MODEL["name"], "version": MODEL["version"]}
    if case.path.endswith("/infer") and isinstance(case.body, dict):
        for tensor in case.body["inputs"]:
            if tensor["name"] == "image":
                tensor["shape"] = [len(tensor["data"])]
            else:
                count = len(tensor["data"])
                tensor["shape"] = [count, 3, HEIGHT, WIDTH]
                tensor["data"] = [[[[0.25] * WIDTH] * HEIGHT] * 3] * count
    return case

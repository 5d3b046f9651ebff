"""Speaks to a server with Triton's client.

usage: python protocols.py ADDRESS MODEL WEIGHTS IMAGES

IMAGES has a folder of images for each class. The answers of the Open Inference Protocol are compared with those of
/v1/predict, and values are made from files by Pillow and NumPy.
"""

import io
import json
import struct
import sys
import urllib.request
from pathlib import Path

import numpy
import tritonclient.http as triton
from PIL import Image
from tritonclient.utils import InferenceServerException

EACH = 10  # images of each class


def main(address, model, weights, images):
    client = triton.InferenceServerClient(address)
    metadata = read_metadata(weights)
    names = metadata["class_names"]
    files = [file for name in names for file in sorted((images / name).iterdir())[:EACH]]
    contents = [file.read_bytes() for file in files]
    predicted = [predict(address, model, bytes) for bytes in contents]
    right = sum(one["label"] == file.parent.name for one, file in zip(predicted, files))
    assert right >= 0.9 * len(files), f"{right} of {len(files)} images are right"

    describes_itself(client, model, metadata)
    logits = takes_files(client, model, contents, predicted, names)
    takes_values(client, model, metadata, contents, logits)
    gives_classes(client, model, contents, logits, names)
    refuses(client, model)
    print(f"Triton's client: {len(files)} images as files and as values, {right} right")


def read_metadata(weights):
    """The metadata in the header of a safetensors file."""
    with open(weights, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(json.loads(file.read(length))["__metadata__"]["classify"])


def predict(address, model, bytes):
    """The answer of /v1/predict."""
    request = urllib.request.Request(
        f"http://{address}/v1/predict?model={model}&probabilities=true",
        data=bytes,
        headers={"Content-Type": "image/png"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def describes_itself(client, model, metadata):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    server = client.get_server_metadata()
    assert server["name"] == "classify", server
    assert {"binary_tensor_data", "classification"} <= set(server["extensions"]), server
    found = client.get_model_metadata(model)
    size = metadata["image_size"]
    sides = size if isinstance(size, list) else [size, size]
    assert found["name"] == model, found
    assert found["inputs"] == [
        {"name": "input", "datatype": "FP32", "shape": [-1, 3, *sides]},
        {"name": "image", "datatype": "BYTES", "shape": [-1]},
    ], found
    classes = len(metadata["class_names"])
    assert found["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, classes]}]
    (version,) = found["versions"]
    assert client.is_model_ready(model, version)
    assert client.get_model_metadata(model, version) == found
    assert not client.is_model_ready("none")
    assert not client.is_model_ready(model, "none")


def images_input(contents):
    """The input of image files. Pillow's strings are bytes objects, so that no byte is lost."""
    array = numpy.array(contents, dtype=numpy.object_)
    tensor = triton.InferInput("image", [len(contents)], "BYTES")
    return tensor.set_data_from_numpy(array)


def takes_files(client, model, contents, predicted, names):
    """Sends image files. Returns their logits."""
    asked = [triton.InferRequestedOutput("logits", binary_data=True)]
    answer = client.infer(model, [images_input(contents)], outputs=asked, request_id="files")
    assert answer.get_response()["id"] == "files"
    assert answer.get_response()["model_name"] == model
    logits = answer.as_numpy("logits")
    assert logits.shape == (len(contents), len(names)) and logits.dtype == numpy.float32
    for row, one in zip(logits, predicted):
        shares = numpy.exp(row.astype(numpy.float64) - row.max())
        shares /= shares.sum()
        expected = [one["probabilities"][name] for name in names]
        numpy.testing.assert_allclose(shares, expected, rtol=1e-5, atol=1e-7)
    # As JSON: the same numbers.
    asked = [triton.InferRequestedOutput("logits", binary_data=False)]
    in_json = client.infer(model, [images_input(contents)], outputs=asked).as_numpy("logits")
    numpy.testing.assert_array_equal(in_json, logits)
    # Without a list of outputs, the client asks for all of them as binary data.
    version = client.get_model_metadata(model)["versions"][0]
    plain = client.infer(model, [images_input(contents)], model_version=version)
    numpy.testing.assert_array_equal(plain.as_numpy("logits"), logits)
    # Requests at the same time.
    pending = [client.async_infer(model, [images_input([one])]) for one in contents[:8]]
    rows = numpy.concatenate([one.get_result().as_numpy("logits") for one in pending])
    numpy.testing.assert_array_equal(rows, logits[:8])
    return logits


def takes_values(client, model, metadata, contents, logits):
    """Sends normalised values, as the exported ONNX network takes them."""
    size = metadata["image_size"]
    height, width = size if isinstance(size, list) else [size, size]
    mean, std = (
        numpy.array(metadata["normalisation"][key], dtype=numpy.float32) for key in ("mean", "std")
    )
    seen = []
    for bytes in contents:
        image = Image.open(io.BytesIO(bytes)).convert("RGB")
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        values = numpy.asarray(image, dtype=numpy.float32) / 255
        seen.append(((values - mean) / std).transpose(2, 0, 1))
    seen = numpy.stack(seen)
    tensor = triton.InferInput("input", seen.shape, "FP32")
    for is_binary in (True, False):
        tensor.set_data_from_numpy(seen, binary_data=is_binary)
        found = client.infer(model, [tensor]).as_numpy("logits")
        numpy.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)


def gives_classes(client, model, contents, logits, names):
    """The classification extension: score:index:label."""
    for is_binary in (True, False):
        asked = [triton.InferRequestedOutput("logits", binary_data=is_binary, class_count=3)]
        found = client.infer(model, [images_input(contents)], outputs=asked).as_numpy("logits")
        assert found.shape == (len(contents), 3)
        for texts, row in zip(found, logits):
            best = numpy.argsort(-row, kind="stable")[:3]
            for text, index in zip(texts, best):
                text = text.decode() if isinstance(text, bytes) else text
                score, place, label = text.split(":")
                assert int(place) == index and label == names[index], (text, row)
                assert numpy.float32(score) == row[index], (text, row)


def refuses(client, model):
    """Errors have a text that the client shows."""
    good = images_input([b"no image"])
    compressed = {"request_compression_algorithm": "gzip"}
    for expected, infer in [
        ("image 0", lambda: client.infer(model, [good])),
        ("no model is called", lambda: client.infer("none", [good])),
        ("Content-Encoding", lambda: client.infer(model, [good], **compressed)),
        ("scores", lambda: client.infer(model, [good], outputs=[triton.InferRequestedOutput("scores")])),
    ]:
        try:
            infer()
        except InferenceServerException as error:
            assert expected in error.message(), error
        else:
            raise AssertionError(f"a request was not refused: {expected}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))

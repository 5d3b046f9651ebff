"""Checks the manifests in deploy/, and that each command line in deploy/ starts a server.

usage: python deploy.py DEPLOY CLASSIFY WEIGHTS

kubernetes.yaml is checked by kubernetes-validate, and kserve.yaml by the models of KServe's Python SDK, which are made
from its OpenAPI document. Types of Kubernetes within them are checked by the schemas of kubernetes-validate. The SDK
itself is not imported, since it needs a hundred other packages.
"""

import copy
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import types
import urllib.request
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

VERSION = kubernetes_validate.latest_version()
DEFINITIONS = schema_contents(f"kubernetes-json-schema/v{VERSION}-local-strict/_definitions.json", VERSION)
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def main(deploy, classify, weights):
    manifests = list(yaml.safe_load_all((deploy / "kubernetes.yaml").read_text()))
    assert [one["kind"] for one in manifests] == ["Deployment", "Service"]
    for one in manifests:
        kubernetes_validate.validate(one, VERSION, strict=True)
    deployment, service = manifests
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels

    kserve_models()
    served = list(yaml.safe_load_all((deploy / "kserve.yaml").read_text()))
    runtime, inference = served
    check_type(runtime, "V1alpha1ServingRuntime", "ServingRuntime")
    check_type(inference, "V1beta1InferenceService", "InferenceService")
    the_check_finds_faults(runtime, inference)
    model = inference["spec"]["predictor"]["model"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in [one["name"] for one in runtime["spec"]["supportedModelFormats"]]

    lines = {
        "classify.service": unit_command(deploy / "classify.service"),
        "Dockerfile": docker_command(deploy / "Dockerfile"),
        "kubernetes.yaml": deployment["spec"]["template"]["spec"]["containers"][0]["args"],
        "kserve.yaml": [
            word.replace("{{.Name}}", inference["metadata"]["name"])
            for word in runtime["spec"]["containers"][0]["args"]
        ],
    }
    for name, words in lines.items():
        serves(classify, weights, words)
        print(f"{name}: its command serves")


def kserve_models():
    """Makes KServe's models importable without the SDK's own imports."""
    spec = importlib.util.find_spec("kserve")
    for name in ["kserve", "kserve.models"]:
        package = types.ModuleType(name)
        folder = Path(spec.origin).parent
        package.__path__ = [str(folder if name == "kserve" else folder / "models")]
        sys.modules[name] = package


def check_type(value, kind, at):
    """Fails if a value is not of this type of KServe or Kubernetes."""
    if part := re.fullmatch(r"list\[(.+)\]", kind):
        expect(isinstance(value, list), at, "a list")
        for index, item in enumerate(value):
            check_type(item, part[1], f"{at}[{index}]")
    elif part := re.fullmatch(r"dict\(str, (.+)\)", kind):
        expect(isinstance(value, dict), at, "a mapping")
        for key, item in value.items():
            check_type(item, part[1], f"{at}.{key}")
    elif kind in PLAIN:
        expect(isinstance(value, PLAIN[kind]), at, kind)
    elif kind.startswith(("V1alpha1", "V1beta1")):
        check_model(value, kind, at)
    else:
        check_kubernetes(value, kind, at)


def check_model(value, kind, at):
    file = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[A-Z])", "_", kind).lower()
    model = getattr(importlib.import_module(f"kserve.models.{file}"), kind)
    expect(isinstance(value, dict), at, kind)
    attributes = {key: attribute for attribute, key in model.attribute_map.items()}
    for key, item in value.items():
        expect(key in attributes, f"{at}.{key}", f"one of {', '.join(sorted(attributes))}")
        check_type(item, model.openapi_types[attributes[key]], f"{at}.{key}")
    # Fails if a required attribute is missing.
    model(**{attributes[key]: item for key, item in value.items()})


def check_kubernetes(value, kind, at):
    if kind == "ResourceQuantity":
        kind = "V1Quantity"
    name = re.sub(r"^V1", "", kind)
    found = [full for full in DEFINITIONS["$defs"] if full.endswith(f".{name}")]
    expect(len(found) == 1, at, f"a known type; {kind} is {found}")
    schema = {"$ref": f"{DEFINITIONS['$id']}#/$defs/{found[0]}"}
    registry = Resource.from_contents(DEFINITIONS) @ Registry()
    try:
        jsonschema.Draft202012Validator(schema, registry=registry).validate(value)
    except jsonschema.ValidationError as error:
        raise ValueError(f"{at}{error.json_path[1:]}: {error.message}") from None


def expect(holds, at, what):
    if not holds:
        raise ValueError(f"{at}: expected {what}")


def the_check_finds_faults(runtime, inference):
    """A misspelt key, a missing one and wrong values are found, in types of KServe and of Kubernetes."""
    faults = [
        (runtime, lambda one: one["spec"].pop("containers")),
        (runtime, lambda one: one["spec"].update(protocolVersion="v2")),
        (runtime, lambda one: one["spec"]["containers"][0]["readinessProbe"].update(http={})),
        (runtime, lambda one: one["spec"]["containers"][0].pop("name")),
        (inference, lambda one: one["spec"]["predictor"]["model"].pop("modelFormat")),
        (inference, lambda one: one["spec"]["predictor"]["model"].update(storageUri=1)),
    ]
    for number, (manifest, change) in enumerate(faults):
        broken = copy.deepcopy(manifest)
        change(broken)
        try:
            check_type(broken, "V1alpha1ServingRuntime" if manifest is runtime else "V1beta1InferenceService", "")
        except ValueError:
            continue
        sys.exit(f"fault {number} of a KServe manifest was not found")


def unit_command(path):
    line = next(line for line in path.read_text().splitlines() if line.startswith("ExecStart="))
    return shlex.split(line.removeprefix("ExecStart="))[1:]


def docker_command(path):
    lines = path.read_text().splitlines()
    entry, command = (
        json.loads(next(line for line in lines if line.startswith(f"{word} ")).removeprefix(word))
        for word in ["ENTRYPOINT", "CMD"]
    )
    assert entry == ["/classify"]
    return command


def serves(classify, weights, words):
    """Starts a server with this command line, but with a free port and weights that exist here."""
    words = [re.sub(r"^(--port=)?8080$", r"\g<1>0", word) for word in words]
    words = [re.sub(r"/[\w/.-]+\.safetensors$", str(weights), word) for word in words]
    assert str(weights) in " ".join(words), words
    server = subprocess.Popen([classify, *words], stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        address = re.search(r":(\d+)\s*$", line)
        assert address, f"{words}: {line!r}"
        with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/v2/health/ready") as answer:
            assert answer.status == 200
    finally:
        server.terminate()
        server.wait()


main(Path(sys.argv[1]), *sys.argv[2:])

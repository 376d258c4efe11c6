"""PSNR and SSIM against hand-made cases and scikit-image; the choice among samples."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional

from drsvg_cli.evaluation import metrics

SKIMAGE: dict[str, Any] = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "data_range": 1.0,
}
MARGIN = 5


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def pair(kind: str) -> tuple[Tensor, Tensor]:
    """Return two frames `(3, 40, 52)` that differ in one way."""
    y, x = torch.meshgrid(torch.arange(40), torch.arange(52), indexing="ij")
    truth = torch.stack([((x * k + y) / 9).sin() * 0.5 + 0.5 for k in (1, 2, 3)])
    changed = {
        "shifted": truth.roll(2, dims=-1),
        "noisy": (truth + 0.1 * (noise(3, 40, 52) - 0.5)).clamp(0, 1),
        "dimmed": truth * 0.6,
        "black": torch.zeros_like(truth),
    }
    return changed[kind], truth


def reference(predicted: Tensor, truth: Tensor) -> float:
    """Average scikit-image's map over the valid interior and the channels."""
    arrays: list[NDArray[np.float64]] = [f.double().numpy() for f in (predicted, truth)]
    _, scores = structural_similarity(*arrays, channel_axis=0, full=True, **SKIMAGE)
    return float(scores[:, MARGIN:-MARGIN, MARGIN:-MARGIN].mean())


@pytest.mark.parametrize("kind", ["shifted", "noisy", "dimmed", "black"])
def test_ssim_is_scikit_images(kind: str) -> None:
    predicted, truth = pair(kind)
    assert metrics.ssim(predicted, truth).item() == pytest.approx(
        reference(predicted, truth), abs=1e-4
    )


def test_identical_frames_have_ssim_one() -> None:
    frames = noise(4, 1, 16, 16)
    assert torch.allclose(metrics.ssim(frames, frames), torch.ones(4))


def test_ssim_needs_a_whole_window() -> None:
    with pytest.raises(ValueError, match="11 pixels"):
        metrics.ssim(noise(1, 10, 30), noise(1, 10, 30))
    assert metrics.ssim(noise(1, 11, 11), noise(1, 11, 11)).shape == ()


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((3, 8, 8), 0.5)
    assert metrics.psnr(truth + 0.1, truth).item() == pytest.approx(20, abs=1e-3)
    assert metrics.psnr(torch.zeros(1, 2, 2), torch.ones(1, 2, 2)).item() == pytest.approx(0)


def test_psnr_of_identical_frames_is_capped() -> None:
    frames = noise(2, 3, 8, 8)
    assert metrics.psnr(frames, frames).tolist() == pytest.approx([100, 100])


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim])
def test_samples_are_each_measured_against_the_shared_truth(measure: Any) -> None:
    predicted, truth = noise(2, 3, 4, 1, 16, 16), noise(2, 1, 4, 1, 16, 16, seed=1)
    scores = measure(predicted, truth)
    assert scores.shape == (2, 3, 4)
    assert torch.allclose(scores[1, 2, 3], measure(predicted[1, 2, 3], truth[1, 0, 3]))


def test_half_precision_frames_are_measured_in_single() -> None:
    predicted, truth = pair("shifted")
    half = metrics.ssim(predicted.bfloat16(), truth.bfloat16())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(metrics.ssim(predicted, truth).item(), abs=1e-2)


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim])
def test_frames_that_cannot_be_compared_are_refused(measure: Any) -> None:
    with pytest.raises(TypeError, match="uint8"):
        measure(noise(1, 16, 16), torch.zeros(1, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match="one size"):
        measure(noise(1, 16, 16), noise(3, 16, 16))
    with pytest.raises(ValueError, match=r"\(16, 16\)"):
        measure(noise(16, 16), noise(16, 16))


def test_the_best_sample_has_the_best_average_not_the_best_frame() -> None:
    scores = torch.tensor([[9.0, 0.0, 0.0], [4.0, 4.0, 4.0], [3.0, 3.0, 3.0]])
    assert metrics.best_of(scores).item() == 1
    assert metrics.best_of(torch.stack((scores, scores.flip(0)))).tolist() == [1, 1]
    assert metrics.best_of(torch.ones(4, 2)).item() == 0
    with pytest.raises(ValueError, match="S, T"):
        metrics.best_of(torch.ones(3))


def test_sharpness_is_the_mean_difference_of_neighbours() -> None:
    frame = torch.zeros(1, 4, 4)
    frame[:, :, 2:] = 0.6  # an edge: one of three differences across, none down
    assert float(metrics.sharpness(frame)) == pytest.approx(0.2)
    noise = torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    blurred = functional.avg_pool2d(noise.flatten(0, 1), 3, 1, 1).view(noise.shape)
    assert metrics.sharpness(noise).shape == (2, 3)
    assert (metrics.sharpness(blurred) < 0.5 * metrics.sharpness(noise)).all()

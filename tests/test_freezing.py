"""A frozen model predicts what it predicted before."""

import copy

import pytest
import torch
from torch import nn

from drsvg_cli.evaluation.metrics import psnr
from drsvg_cli.inference.rollout import predict, swap
from drsvg_cli.model import freezing
from drsvg_cli.model.freezing import freeze


@pytest.fixture
def context(noisy_frames):
    return noisy_frames(2, 3, 3, 32, 32, seed=8)


@pytest.mark.parametrize("head", ["pixels", "warp"])
@pytest.mark.parametrize("backbone", ["dcgan", "vgg"])
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("packs", [True, False])
def test_freezing_changes_nothing_but_the_last_bits(
    tiny_model, context, backbone, head, packs, shortcut, monkeypatch
):
    if not packs:  # as where PyTorch has no such kernels
        monkeypatch.setattr(freezing, "_packs", lambda precision: False)
    shortcuts = {"predictor_shortcut": shortcut, "latent_shortcut": shortcut}
    model = tiny_model(backbone=backbone, head=head, **shortcuts)
    chance = torch.get_rng_state()
    frozen = freeze(copy.deepcopy(model), half=False)
    assert torch.equal(torch.get_rng_state(), chance), "a caller's own random numbers go on"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    packed = any(isinstance(module, freezing._Packed) for module in frozen.modules())
    assert packed == (packs and torch.backends.mkldnn.is_available())
    for rollout in (
        lambda each: predict(each, context, 3, seeds=range(2)),
        lambda each: swap(each, context, context.flip(1), seeds=range(2)),
    ):
        before, after = rollout(model).frames, rollout(frozen).frames
        torch.testing.assert_close(after, before, atol=2e-4, rtol=0)
    assert before.std() > 0.01
    once = predict(frozen, context, 3, seeds=range(2)).frames
    assert torch.equal(predict(freeze(frozen, half=False), context, 3, seeds=range(2)).frames, once)


def test_a_normalisation_by_groups_stays(tiny_model, context):
    model = tiny_model(normalization="group")
    before = predict(model, context, 2, seeds=[0]).frames
    frozen = freeze(model, half=False)
    assert any(isinstance(module, nn.GroupNorm) for module in frozen.modules())
    torch.testing.assert_close(predict(frozen, context, 2, seeds=[0]).frames, before)


def test_weights_laid_out_for_one_size_serve_another(tiny_model, noisy_frames):
    """Convolutions fit any size; weights are laid out for the first maps they see."""
    model = tiny_model()
    frozen = freeze(copy.deepcopy(model), half=False)
    for clips in (1, 7, 3):
        context = noisy_frames(clips, 2, 3, 32, 32, seed=clips)
        before, after = (predict(each, context, 2, seeds=[1]).frames for each in (model, frozen))
        torch.testing.assert_close(after, before, atol=2e-4, rtol=0)


@pytest.mark.skipif(not freezing._packs(torch.bfloat16), reason="no bfloat16 kernels here")
@pytest.mark.parametrize("normalization", ["batch", "group"])
@pytest.mark.parametrize("head", ["pixels", "warp"])
@pytest.mark.parametrize("backbone", ["dcgan", "vgg"])
def test_a_frozen_model_in_half_precision_predicts_what_it_predicted(
    tiny_model, context, backbone, head, normalization
):
    """To 40 dB: bfloat16 has eight bits, as a frame has."""
    model = tiny_model(backbone=backbone, head=head, normalization=normalization)
    frozen = freeze(copy.deepcopy(model), half=True)
    before, after = (predict(each, context, 3, seeds=range(2)).frames for each in (model, frozen))
    assert before.dtype == after.dtype == torch.float32
    assert not torch.equal(before, after)
    assert psnr(after, before).min() > 40


def test_a_model_in_training_cannot_be_frozen(tiny_model):
    with pytest.raises(ValueError, match=r"model\.eval"):
        freeze(tiny_model().train())

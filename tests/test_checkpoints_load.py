"""The rebuilt architectures are those of the stored weights: they load strictly and do what their authors say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.checkpoints import CHECKPOINTS, checkpoint_path, images, load_checkpoint, require, shared_folder

CLASSIFIERS = [name for name, checkpoint in CHECKPOINTS.items() if checkpoint.accuracy is not None]
FACE_BOX = (140, 60, 380, 300)  # left, upper, right, lower: the face in matplotlib's sample portrait
CORNER_BOX = (0, 0, 130, 130)  # background of the same portrait


def accuracy(name, count):
    """Percent of the first `count` test images that the network classifies correctly."""
    model = load_checkpoint(name)
    x, labels = images(name, count)
    with torch.inference_mode():
        predicted = torch.cat([model(batch).argmax(1) for batch in x.split(250)])
    return 100 * (predicted == labels).double().mean().item()


def portrait(box, size):
    """Give a part of matplotlib's sample portrait as values in [0, 1], shape (1, 3, *size)."""
    pytest.importorskip("matplotlib")
    from matplotlib import cbook
    from PIL import Image  # comes with matplotlib

    with cbook.get_sample_data("grace_hopper.jpg") as stream:
        pixels = np.array(Image.open(stream).convert("RGB").crop(box))  # (H, W, 3)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(x, size, mode="bilinear", antialias=True)


def normalised(name, x):
    """Scale values in [0, 1] as a network expects them."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in CHECKPOINTS[name].normalise)
    return (x - mean) / std


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_load_strictly_and_outputs_are_finite(name):
    require(name)
    x, _ = images(name, 2)
    assert x.dtype == torch.float32
    assert x.shape[1:] == CHECKPOINTS[name].input_shape[1:]
    with torch.inference_mode():
        outputs = load_checkpoint(name)(x)
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        assert len(output) == 2
        assert output.isfinite().all()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_accuracy_is_the_stated_one(name):
    require(name)
    # The same thousand images as in the statement: only a near tie may fall differently on another machine.
    assert accuracy(name, 1000) == pytest.approx(CHECKPOINTS[name].accuracy, abs=0.3)


@torch.inference_mode()
def test_the_slim_detector_sees_a_face_in_a_portrait_and_none_in_noise():
    require("facedet_slim")
    model = load_checkpoint("facedet_slim")
    whole = portrait((0, 0, 512, 600), (240, 320))
    confidences, locations = model(normalised("facedet_slim", whole))
    assert confidences.shape == (1, 4420, 2)
    assert locations.shape == (1, 4420, 4)
    assert confidences[..., 1].max() > 0.9
    noise, _ = images("facedet_slim", 2)
    assert model(noise)[0][..., 1].max() < 0.5


@torch.inference_mode()
def test_the_mtcnn_stage_tells_a_face_from_background():
    require("mtcnn_rnet")
    crops = torch.cat([portrait(box, (24, 24)) for box in (FACE_BOX, CORNER_BOX)])
    boxes, probabilities = load_checkpoint("mtcnn_rnet")(normalised("mtcnn_rnet", crops))
    assert boxes.shape == (2, 4)
    assert probabilities[0, 1] > 0.9
    assert probabilities[1, 1] < 0.5


def test_random_inputs_are_the_same_at_each_call():
    first, labels = images("titanic_mlp", 3)
    again, _ = images("titanic_mlp", 3)
    assert labels is None
    assert torch.equal(first, again)


@pytest.mark.parametrize("named", [".", "data"])
def test_the_variable_may_name_the_shared_folder_or_its_data_folder(named, tmp_path, monkeypatch):
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    monkeypatch.setenv("DNN2GRAPH_DATA", str(tmp_path / named))
    assert shared_folder() == tmp_path
    assert checkpoint_path("resnet20") == tmp_path / "checkpoints" / "resnet20_cifar10.th"


def test_a_test_is_skipped_with_the_name_of_the_absent_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DNN2GRAPH_DATA", str(tmp_path / "absent"))
    assert shared_folder() is None
    with pytest.raises(pytest.skip.Exception, match=r"'resnet20_cifar10\.th' is not in"):
        require("resnet20")

"""Distances between samples and real images: by their definitions, and with what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from scipy.linalg import sqrtm

from ncml_cli.evaluate.evaluate import main
from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.evaluation import classifier, quality
from tests.builders.runs import saved, thumbnails

Features = quality.Features


def gaussian(count: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Features:
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(5, 5))
    return shift + scale * random.normal(size=(count, 5)) @ mixing


def test_the_frechet_distance_by_its_definition() -> None:
    one, other = gaussian(40, 0), gaussian(30, 1, 0.7, 1.5)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    mean = one.mean(0) - other.mean(0)
    root = sqrtm(first @ second).real
    wanted = mean @ mean + np.trace(first + second - 2 * root)
    assert quality.frechet(one, other) == pytest.approx(wanted, rel=1e-8)
    assert quality.frechet(other, one) == pytest.approx(wanted, rel=1e-8)
    assert quality.frechet(one, one) == pytest.approx(0, abs=1e-8)


def test_the_frechet_distance_of_gaussians_is_known() -> None:
    """Shifted by v and scaled by s: |v|^2 + (s - 1)^2 tr C."""
    one = gaussian(200, 2)
    trace = np.trace(np.cov(one, rowvar=False))
    assert quality.frechet(one, one + 2) == pytest.approx(5 * 4, rel=1e-8)
    mean = one.mean(0)
    spread = mean + 3 * (one - mean)
    assert quality.frechet(one, spread) == pytest.approx(4 * trace, rel=1e-8)


def test_the_kernel_distance_by_pairs() -> None:
    one, other = gaussian(7, 3), gaussian(5, 4, 1.0)

    def product(x: Features, y: Features) -> float:
        return float((x @ y / 5 + 1) ** 3)

    first = [product(x, y) for i, x in enumerate(one) for j, y in enumerate(one) if i != j]
    second = [product(x, y) for i, x in enumerate(other) for j, y in enumerate(other) if i != j]
    mixed = [product(x, y) for x in one for y in other]
    wanted = np.mean(first) + np.mean(second) - 2 * np.mean(mixed)
    assert quality.kernel(one, other) == pytest.approx(wanted, rel=1e-10)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UsageError, match="1 samples"):
        quality.distances(gaussian(1, 0), gaussian(9, 1))


def coloured(count: int, seed: int) -> ArrayImages:
    """Images of two classes that a classifier tells by their colour."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    images = random.integers(0, 90, (count, 3, 16, 16))
    images[np.arange(count), 2 * labels] += 130
    return ArrayImages(images.astype(np.uint8), labels)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "small.safetensors"
    model = classifier.train(coloured(200, 0), 30, 16, say=lambda line: None)
    right = classifier.accuracy(model, coloured(100, 1))
    assert right > 0.9
    classifier.write(model, path, {"accuracy": right})
    return path


def test_a_classifier_comes_back_as_it_was(trained: Path, tmp_path: Path) -> None:
    model, images = classifier.read(trained), coloured(10, 2).images
    again = classifier.features(classifier.read(trained), images, batch=3)
    assert np.allclose(classifier.features(model, images), again, atol=1e-5)
    (tmp_path / "bad.safetensors").write_bytes(trained.read_bytes()[:100])
    with pytest.raises(InputError, match=r"bad\.safetensors"):
        classifier.read(tmp_path / "bad.safetensors")
    with pytest.raises(UsageError, match="labels"):
        classifier.train(ArrayImages(images), 3)


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_samples_that_are_real_images_are_nearer_than_noise(trained: Path, tmp_path: Path) -> None:
    images = thumbnails(60)
    real = saved(tmp_path / "real", images[:30])
    noise = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
    found = []
    for name, samples in (("other", images[30:]), ("noise", noise[30:])):
        np.save(tmp_path / f"{name}.npy", samples)
        arguments = ["quality", f"array:{tmp_path}/{name}.npy", "--data", real]
        result = evaluate(*arguments, "--classifier", trained, "--json")
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.output)["small classifier"])
    assert found[0]["samples"] == found[0]["real"] == 30
    assert found[0]["frechet"] < found[1]["frechet"]
    assert found[0]["kernel"] < found[1]["kernel"]
    text = evaluate(*arguments, "--classifier", trained)
    assert "features of small classifier: Frechet distance" in text.output


def test_the_tool_trains_the_classifier(tmp_path: Path) -> None:
    for name, seed in (("data_batch_1.bin", 0), ("test_batch.bin", 1)):
        images, labels = thumbnails(20), np.random.default_rng(seed).integers(0, 10, 20)
        records = [bytes([label]) + i.tobytes() for label, i in zip(labels, images, strict=True)]
        (tmp_path / name).write_bytes(b"".join(records))
    output = tmp_path / "small.safetensors"
    source = f"cifar10:{tmp_path}"
    result = evaluate("classifier", "--data", source, "-o", output, "--steps", 2, "--batch", 4)
    assert result.exit_code == 0, result.output
    assert "of 20 test images right" in result.output
    classifier.read(output)
    folder = saved(tmp_path / "images", thumbnails(2))
    assert evaluate("classifier", "--data", folder, "-o", output).exit_code == 2


def test_what_fid_needs_is_said(tmp_path: Path) -> None:
    folder = saved(tmp_path / "images", thumbnails(3))
    missing = evaluate("quality", folder, "--data", folder, "--inception", tmp_path / "no.pth")
    assert missing.exit_code == 1
    assert "torch-fidelity/releases" in missing.stderr
    nothing = evaluate("quality", folder, "--data", folder)
    assert nothing.exit_code == 2
    (tmp_path / "evil.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match="not a file of weights"):
        quality.inception_distances(thumbnails(2), thumbnails(2), tmp_path / "evil.pth")


@pytest.mark.slow
def test_fid_by_torch_fidelity_with_weights_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random weights: the distance of images to themselves is 0, and to others it is not."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        random = module.FeatureExtractorInceptionV3("inception", ["2048"])
    weights, images = tmp_path / "inception.pth", thumbnails(8)
    torch.save(random.state_dict(), weights)
    same = quality.inception_distances(images, images, weights)
    other = quality.inception_distances(255 - images, images, weights)
    assert 1e3 * abs(same.frechet) < other.frechet

"""The transform of a model: pixel by pixel what open_clip builds for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

from craft_ray.data.dataset import Item
from craft_ray.data.pixels import augmented_pixels, plain_pixels
from craft_ray.data.transform import ImageTransform
from tests.support.images import encoded, noise

SHAPES = [(60, 240), (240, 60), (31, 33), (1, 9), (9, 1), (1, 1), (7, 7), (50, 49), (100, 31)]
MODES = ["shortest", "longest", "squash"]


def item(image: Image.Image) -> Item:
    return Item(encoded(image), 0, "image")


def by_open_clip(image: Image.Image, how: ImageTransform) -> Any:
    transform = open_clip.image_transform(
        how.size,
        is_train=False,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        resize_mode=how.resize_mode,
        interpolation=how.interpolation,
        fill_color=how.fill_color,
    )
    return (transform(image) * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [8, 31, 32])
def test_whole_images_are_those_of_open_clip(mode: Any, interpolation: Any, size: int) -> None:
    how = ImageTransform(size, mode, interpolation, fill_color=7)
    images = [noise(height, width, seed=height) for height, width in SHAPES]
    pixels = plain_pixels([item(image) for image in images], how)
    for image, own in zip(images, pixels, strict=True):
        np.testing.assert_array_equal(own, by_open_clip(image, how))


@pytest.mark.parametrize("mode", ["longest", "squash"])
def test_an_image_of_240_by_60_keeps_both_its_edges(mode: Any) -> None:
    wide = np.full((60, 240, 3), 128, np.uint8)
    wide[:, :40], wide[:, 200:] = (255, 0, 0), (0, 0, 255)
    pixels = plain_pixels([item(Image.fromarray(wide))], ImageTransform(32, mode))[0]
    row = pixels[:, 16]
    assert tuple(row[:, 0]) == (255, 0, 0)
    assert tuple(row[:, -1]) == (0, 0, 255)


def test_what_is_longer_than_its_square_is_padded_in_the_fill_colour() -> None:
    image = Image.new("RGB", (40, 10), (200, 100, 50))
    pixels = plain_pixels([item(image)], ImageTransform(20, "longest", fill_color=9))[0]
    assert (pixels[:, [0, -1]] == 9).all()
    assert tuple(pixels[:, 10, 10]) == (200, 100, 50)


def test_a_line_that_would_vanish_is_drawn_one_pixel_wide() -> None:
    pixels = plain_pixels([item(Image.new("RGB", (300, 1)))], ImageTransform(8, "longest"))
    assert pixels.shape == (1, 3, 8, 8)


@pytest.mark.parametrize("mode", MODES)
def test_views_are_crops_in_the_interpolation_of_the_model(mode: Any) -> None:
    image = noise(50, 41, seed=3)
    how = ImageTransform(16, mode, "bilinear")
    crop = v2.RandomResizedCrop(16, scale=(0.5, 1.0), interpolation=InterpolationMode.BILINEAR)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = v2.Compose([crop, v2.RandomHorizontalFlip()])(image)
    pixels = augmented_pixels([item(image)], how, 0.5, seed=5)[0]
    np.testing.assert_array_equal(pixels, np.asarray(expected).transpose(2, 0, 1))


def test_a_number_is_an_image_size_of_clips_own_transform() -> None:
    items = [item(noise(20, 30))]
    np.testing.assert_array_equal(plain_pixels(items, 8), plain_pixels(items, ImageTransform(8)))


def test_only_what_differs_from_clips_own_is_part_of_an_address() -> None:
    assert ImageTransform(8).unusual == {}
    assert ImageTransform(8, fill_color=5).unusual == {}  # nothing is padded
    squash = ImageTransform(8, "squash", "bilinear")
    assert squash.unusual == {"resize_mode": "squash", "interpolation": "bilinear"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "image_size"),
        ({"size": "8"}, "image_size"),
        ({"resize_mode": "stretch"}, "resize_mode must be one of .* 'stretch'"),
        ({"interpolation": "random"}, "interpolation"),
        ({"fill_color": 300}, "fill_color"),
    ],
)
def test_a_word_that_open_clip_does_not_know_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageTransform(**{"size": 8, **wrong})


def test_small_images_are_enlarged_as_torchvision_does() -> None:
    image = noise(32, 32, seed=5)
    shown = v2.Compose([v2.Resize(224, InterpolationMode.BICUBIC), v2.CenterCrop(224)])(image)
    pixels = plain_pixels([item(image)], ImageTransform(224))
    np.testing.assert_array_equal(pixels[0], np.asarray(shown).transpose(2, 0, 1))

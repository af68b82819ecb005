"""From images to the arrays that an oracle takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

from craft_ray.data.dataset import Item, labels_of
from craft_ray.data.pixels import LONGEST_TO_SHORT, augmented_pixels, plain_pixels
from tests.support.examples import few
from tests.support.images import encoded, noise, rgb


def item(image: Image.Image, label: int = 0) -> Item:
    return Item(encoded(image), label, "image")


ITEMS = [item(noise(12, 10, seed)) for seed in range(3)]


@few
@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.sampled_from([1, 8, 32]))
def test_images_of_any_shape_become_uint8_squares(height: int, width: int, size: int) -> None:
    items = [item(noise(height, width)), item(noise(width, height))]
    for pixels in (plain_pixels(items, size), augmented_pixels(items, size, 0.5, seed=1)):
        assert pixels.shape == (2, 3, size, size)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 60) | st.integers(200, 300),
    width=st.integers(1, 60) | st.integers(200, 300),
    size=st.sampled_from([1, 8, 31]),
    crop_scale_min=st.sampled_from([0.01, 0.08, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_views_are_those_of_torchvision(
    height: int, width: int, size: int, crop_scale_min: float, seed: int
) -> None:
    images = [noise(height, width), noise(width, height), noise(height, height)]
    bicubic = InterpolationMode.BICUBIC
    plain = v2.Compose([v2.Resize(size, interpolation=bicubic), v2.CenterCrop(size)])
    scale = (crop_scale_min, 1.0)
    augmented = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=scale, interpolation=bicubic),
            v2.RandomHorizontalFlip(),
        ]
    )
    items = [item(image) for image in images]
    expected = [rgb(plain(image)).transpose(2, 0, 1) for image in images]
    np.testing.assert_array_equal(plain_pixels(items, size), expected)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = [rgb(augmented(image)).transpose(2, 0, 1) for image in images]
    np.testing.assert_array_equal(augmented_pixels(items, size, crop_scale_min, seed), expected)


def test_a_square_image_of_the_right_size_is_passed_on_unchanged() -> None:
    source = noise(16, 16)
    pixels = plain_pixels([item(source)], 16)
    np.testing.assert_array_equal(pixels[0], rgb(source).transpose(2, 0, 1))


def test_the_plain_view_is_the_centre_of_the_resized_image() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = (250, 120, 10)  # the middle third
    pixels = plain_pixels([item(Image.fromarray(wide))], 10)
    expected = np.broadcast_to(np.array([250, 120, 10], np.uint8)[:, None, None], (3, 10, 10))
    np.testing.assert_array_equal(pixels[0], expected)


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (2, 30_001)])
def test_a_line_of_pixels_takes_no_memory_and_its_centre_is_seen(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = np.zeros((*shape, 3), np.uint8)
    line[shape[0] // 2 - 10 :, shape[1] // 2 - 10 :][:20, :20] = 200
    resize, sizes = Image.Image.resize, []

    def watched(image: Image.Image, size: tuple[int, int], *args: Any) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *args)

    monkeypatch.setattr(Image.Image, "resize", watched)
    pixels = plain_pixels([item(Image.fromarray(line))], 32)
    assert max(sizes[0]) == 32 * LONGEST_TO_SHORT
    assert (pixels == 200).all()


def test_the_plain_view_is_resized_as_open_clip_does() -> None:
    source = noise(40, 60)
    short_side = source.resize((24, 16), Image.Resampling.BICUBIC)
    expected = rgb(short_side.crop((4, 0, 20, 16))).transpose(2, 0, 1)
    np.testing.assert_array_equal(plain_pixels([item(source)], 16)[0], expected)


def test_the_same_seed_gives_the_same_views_and_another_seed_others() -> None:
    first = augmented_pixels(ITEMS, 8, 0.5, seed=1)
    np.testing.assert_array_equal(augmented_pixels(ITEMS, 8, 0.5, seed=1), first)
    other = augmented_pixels(ITEMS, 8, 0.5, seed=2)
    assert all(not np.array_equal(first[n], other[n]) for n in range(3))


def test_each_image_of_a_set_gets_a_view_of_its_own() -> None:
    views = augmented_pixels([ITEMS[0]] * 4, 8, 0.3, seed=1)
    assert len({view.tobytes() for view in views}) == 4


def test_torchs_global_random_stream_is_neither_used_nor_moved() -> None:
    torch.manual_seed(1)
    first = augmented_pixels(ITEMS, 8, 0.5, seed=1)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    np.testing.assert_array_equal(augmented_pixels(ITEMS, 8, 0.5, seed=1), first)


def test_crops_keep_the_asked_share_of_the_area() -> None:
    # A ramp from 0 to 255: a crop that keeps little of it spans few grey values.
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    items = [item(Image.fromarray(ramp))] * 40
    wide = augmented_pixels(items, 64, 0.9, seed=1).astype(int)
    tight = augmented_pixels(items, 64, 0.08, seed=1).astype(int)
    span = np.ptp(wide[:, 0, 32], axis=1)
    assert span.min() > 0.8 * 255  # at least 0.9 of the area within aspect ratios of 3/4 to 4/3
    assert np.ptp(tight[:, 0, 32], axis=1).min() < 0.6 * 255


def test_about_half_of_the_views_are_mirrored() -> None:
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (64, 1, 3))
    views = augmented_pixels([item(Image.fromarray(ramp))] * 60, 64, 0.9, seed=1).astype(int)
    mirrored = (views[:, 0, 32, 0] > views[:, 0, 32, -1]).mean()
    assert mirrored == pytest.approx(0.5, abs=0.2)


def test_labels_are_int64_in_the_order_of_the_items() -> None:
    labels = labels_of([item(noise(), label) for label in (2, 0, 1)])
    assert labels.dtype == np.int64
    assert labels.tolist() == [2, 0, 1]

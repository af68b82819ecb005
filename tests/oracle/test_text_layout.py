"""Which tokens go into which forward of the text tower."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from craft_ray.oracle.text.layout import (
    PADDING,
    PREFIX,
    ClassGroup,
    group_classes,
    slices,
    tile_suffixes,
)

lengths = st.lists(st.integers(2, 20), min_size=1, max_size=50)


@given(lengths=lengths, prefix_length=st.integers(2, 20), max_tokens=st.integers(1, 300))
def test_groups_hold_every_class_once_and_lie_bucket_behind_bucket(
    lengths: list[int], prefix_length: int, max_tokens: int
) -> None:
    groups = group_classes(lengths, prefix_length, max_tokens)
    assert sorted(index for group in groups for index in group.classes) == list(range(len(lengths)))
    for group in groups:
        assert prefix_length + group.num_tokens <= max_tokens or len(group.classes) == 1
        check_layout(group, lengths)


def check_layout(group: ClassGroup, lengths: list[int]) -> None:
    offset, index = 0, 0
    for bucket in group.buckets:
        assert bucket.start == offset
        for class_index in group.classes[index : index + bucket.num_classes]:
            assert lengths[class_index] == bucket.length
        index += bucket.num_classes
        offset = bucket.stop
    assert index == len(group.classes)
    assert group.num_tokens == sum(lengths[class_index] for class_index in group.classes)
    assert len({bucket.length for bucket in group.buckets}) == len(group.buckets)


@given(count=st.integers(1, 100), size=st.integers(0, 120))
def test_slices_cover_everything_once(count: int, size: int) -> None:
    covered = [row for part in slices(count, size) for row in range(count)[part]]
    assert covered == list(range(count))


@given(lengths=lengths, prefix_length=st.integers(0, 20), target=st.integers(1, 200))
def test_tiles_hold_every_suffix_once_and_little_padding(
    lengths: list[int], prefix_length: int, target: int
) -> None:
    tiling = tile_suffixes(lengths, prefix_length, target)
    assert sorted(tiling.order) == list(range(len(lengths)))
    assert sum(count for _, count in tiling.runs) == tiling.num_tiles * tiling.width
    if prefix_length:
        assert tiling.runs[0] == (PREFIX, prefix_length)
    start = 0
    for owner, count in tiling.runs:
        assert count == (lengths[owner] if owner >= 0 else prefix_length if start == 0 else count)
        if owner != PADDING:
            assert start // tiling.width == (start + count - 1) // tiling.width, "in one tile"
        start += count
    # Graham's bound: no tile is longer than the mean by more than its last suffix.
    mean = (prefix_length + sum(lengths)) / tiling.num_tiles
    assert tiling.width < max(mean, prefix_length) + max(lengths)

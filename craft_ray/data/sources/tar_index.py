"""What is in a tar shard and where, read from its headers once. Nothing is unpacked."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from craft_ray.errors import DataError

COMPRESSED = {
    b"\x1f\x8b": "gzip -d",
    b"BZh": "bzip2 -d",
    b"\xfd7z": "xz -d",
    b"\x28\xb5": "zstd -d",
}
"""First bytes of compressed files, and what unpacks them."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a shard."""

    name: str
    offset: int
    size: int


def members_of(shard: Path) -> list[Member]:
    """The plain files of a shard, in its order, and hard links to them, which tar writes where one
    file has two names. Symbolic links are passed over, as what they name lies elsewhere.

    Raises:
        DataError: it is compressed, broken or cut off, a file is there twice, or is stored with
            gaps.
    """
    with shard.open("rb") as stream:
        first = stream.read(4)
    for magic, command in COMPRESSED.items():
        if first.startswith(magic):
            raise DataError(
                f"{shard}: must be a tar file that is not compressed, as its images are read where "
                f"they lie (and are compressed themselves), but it is: {command} {shard.name}"
            )
    found: dict[str, Member] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                if info.issparse():
                    raise DataError(
                        f"{shard}: each file must be stored whole, but {info.name!r} is stored "
                        "with gaps: pack it again without tar --sparse"
                    )
                target = found.get(info.linkname) if info.islnk() else None
                if not info.isreg() and target is None:
                    continue
                if info.name in found:
                    raise DataError(
                        f"{shard}: each file must be there once, but {info.name!r} is there twice"
                    )
                offset, size = info.offset_data, info.size
                if target is not None:
                    offset, size = target.offset, target.size
                found[info.name] = Member(info.name, offset, size)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{shard}: must be a tar file, but: {error}") from error
    end = shard.stat().st_size
    for member in found.values():
        if member.offset + member.size > end:
            raise DataError(f"{shard}: is cut off in {member.name!r}: copy it again")
    return list(found.values())


def content_of(stream: BinaryIO, member: Member, limit: int) -> bytes:
    """The bytes of a small file.

    Args:
        stream: the shard.
        member: the file.
        limit: of its bytes.

    Raises:
        ValueError: it is larger than the limit.
    """
    if member.size > limit:
        raise ValueError(f"it may have at most {limit:,} bytes, and has {member.size:,}")
    stream.seek(member.offset)
    return stream.read(member.size)

"""What each key has registered, as files by content: images as the model sees them, and tasks."""

from __future__ import annotations

import os
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class _Kept:
    """Of one key: digest -> bytes, the one that was used longest ago first."""

    folder: Path
    sizes: OrderedDict[str, int] = field(default_factory=OrderedDict)
    num_bytes: int = 0
    is_known: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> None:
        """Find what an earlier start has kept, in the order of its use as far as the disk knows."""
        found = []
        for parent in self.folder.iterdir() if self.folder.is_dir() else ():
            for entry in os.scandir(parent):
                if entry.name.endswith(".part"):  # of a process that was killed
                    os.unlink(entry.path)
                    continue
                status = entry.stat()
                found.append((status.st_mtime, entry.name, status.st_size))
        self.sizes = OrderedDict((name, size) for _, name, size in sorted(found))
        self.num_bytes, self.is_known = sum(self.sizes.values()), True


class Shelf:
    """Files by key and digest, in bounds for each key; threads of one process may share it.

    A file of another key is not there: its name is below the key's own folder. What was used
    longest ago goes first, and must be registered again.

    Args:
        folder: of all keys.
        most: files of a key.
        max_bytes: of a key's files together.
    """

    def __init__(self, folder: Path, most: int, max_bytes: int | None = None) -> None:
        self._folder = folder
        self._most, self._max_bytes = most, max_bytes
        self._keys: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def put(self, key_id: str, digest: str, data: bytes) -> bool:
        """Keep a file; False: it is there already.

        Raises:
            OSError: the disk does not take it.
        """
        kept = self._of(key_id)
        path = self._path(key_id, digest)
        if self.has(key_id, digest, look=True):
            return False
        # Whole or not at all: a reader, and whoever comes after a kill, finds no half of it.
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        with kept.lock:
            if digest not in kept.sizes:
                kept.num_bytes += len(data)
            kept.sizes[digest] = len(data)
            self._shrink(key_id, kept)
        return True

    def has(self, key_id: str, digest: str, *, look: bool = False) -> bool:
        """Whether it is here; it is then in use.

        Args:
            key_id: whose.
            digest: of it.
            look: whether to look for the file, too, which its owner may have deleted.
        """
        kept = self._of(key_id)
        with kept.lock:
            if digest not in kept.sizes:
                return False
            kept.sizes.move_to_end(digest)
        if look and not self._path(key_id, digest).is_file():
            self.drop(key_id, digest)
            return False
        return True

    def drop(self, key_id: str, digest: str) -> None:
        """It is not here, or is of no use."""
        kept = self._of(key_id)
        with kept.lock:
            kept.num_bytes -= kept.sizes.pop(digest, 0)

    def get(self, key_id: str, digest: str) -> bytes | None:
        """A file's bytes; None: it is not here (any more)."""
        if not self.has(key_id, digest):
            return None
        try:
            return self._path(key_id, digest).read_bytes()
        except FileNotFoundError:  # the owner has deleted it
            self.drop(key_id, digest)
            return None

    def _of(self, key_id: str) -> _Kept:
        with self._lock:
            kept = self._keys.setdefault(key_id, _Kept(self._folder / key_id))
        with kept.lock:  # nobody else waits while the files of this key are looked for
            if not kept.is_known:
                kept.look()
        return kept

    def _path(self, key_id: str, digest: str) -> Path:
        return self._folder / key_id / digest[:2] / digest

    def _shrink(self, key_id: str, kept: _Kept) -> None:
        while len(kept.sizes) > self._most or (
            self._max_bytes is not None and kept.num_bytes > self._max_bytes and len(kept.sizes) > 1
        ):
            digest, size = kept.sizes.popitem(last=False)
            kept.num_bytes -= size
            self._path(key_id, digest).unlink(missing_ok=True)

"""What every oracle over a gate has, whatever its endpoint speaks."""

from __future__ import annotations

from typing import Any

from craft_ray.oracle.contract import ImageHandle, Images, OracleDescription
from craft_ray.oracle.contract_laws import check_images, digest_of_images
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill import Bill
from craft_ray.oracle.gate.bill_ledger import BillLedger
from craft_ray.oracle.gate.gate import Gate
from craft_ray.oracle.remote.image_files import ImageFiles


class GatedOracle:
    """Tasks and image files that are registered here, and the gate that asks about them.

    Args:
        gate: sends what must be asked.
        answers: has what was answered before.
        ledger: of the gate.
    """

    _description: OracleDescription
    """Set by the constructor of each kind."""

    def __init__(self, gate: Gate, answers: AnswerStore, ledger: BillLedger) -> None:
        self._gate = gate
        self._answers = answers
        self._ledger = ledger
        self._files = ImageFiles()
        self._tasks: dict[str, Any] = {}
        """By their content addresses."""
        self.num_images_encoded = 0

    @property
    def bill(self) -> Bill:
        """What was asked so far, and what that costs."""
        return self._ledger.total()

    @property
    def progress(self) -> int:
        """Grows while anything goes on, waits that the endpoint asked for included."""
        return self._gate.progress

    def device_works(self) -> bool:
        """There is none that could break here."""
        return True

    def close(self) -> None:
        """Nothing more is sent; what is under way is awaited for 5 s and kept."""
        self._gate.close()

    def describe(self) -> OracleDescription:
        """Of `Oracle`; free."""
        return self._description

    def knows(self, digest: str) -> bool:
        """Whether a task or an image set with this content address is registered."""
        return digest in self._tasks or digest in self._files

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        """Free; they are sent when they are first asked about.

        Raises:
            OracleError: they are no files.
        """
        check_images(images, self._description)
        assert isinstance(images, tuple)
        handle = ImageHandle(digest_of_images(images), len(images))
        self._files.add(handle, images)
        return handle

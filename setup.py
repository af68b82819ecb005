"""What pyproject.toml cannot say: `tune_spaces/`, at the top level for its readers, is data of the
installed package."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SPACES = "tune_spaces"


class BuildWithSpaces(build_py):
    """Puts them into the package. An editable installation finds them beside it."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            place = Path(self.build_lib) / "craft_ray" / SPACES
            # Not only added to: a folder `build` may have spaces of an earlier version.
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(Path(__file__).parent / SPACES, place)


setup(cmdclass={"build_py": BuildWithSpaces})

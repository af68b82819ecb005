"""A search that an earlier version began: refused before anything is paid for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from craft_ray.errors import ArtifactError
from craft_ray.search.trials_on_disk import check_states, trial_folder
from craft_ray.tuners import state
from craft_ray.tuners.state import TrainerState, keep_state


def test_states_of_an_earlier_version_are_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = trial_folder(tmp_path, 2) / "states"
    keep_state(TrainerState({"a": np.zeros(1)}, {"generation": 1}), states)
    check_states(tmp_path, 3)
    monkeypatch.setattr(state, "FORMAT_VERSION", state.FORMAT_VERSION + 1)
    check_states(tmp_path, 1)
    with pytest.raises(ArtifactError, match=r"trials/2/.*: it is of an earlier version of craft"):
        check_states(tmp_path, 3)

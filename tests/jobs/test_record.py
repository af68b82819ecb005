"""What a tracker is told of a run."""

from __future__ import annotations

from craft_ray.config.run import RunConfig
from craft_ray.jobs.record import data_inputs
from tests.support.world import world_data


def test_the_source_of_images_is_the_table_or_the_folder_that_is_named() -> None:
    data = world_data()
    for source, place in (
        ({"kind": "csv", "file": "/x/pets.csv"}, "/x/pets.csv"),
        ({"kind": "csv", "file": "/x/pets.csv", "root": "/images"}, "/x/pets.csv"),
        ({"kind": "folder", "root": "/x/pets"}, "/x/pets"),
        ({"kind": "embedded"}, "embedded"),
    ):
        config = RunConfig.model_validate({"data": {"source": source}})
        assert data_inputs(config, data, "training").source == place

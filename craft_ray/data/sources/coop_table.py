"""The 15 data sets of CoOp and CraFT: where their files lie, and on what terms they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from craft_ray.config.data import CoopName


@dataclass(frozen=True)
class CoopEntry:
    """One data set in CoOp's layout (https://github.com/KaiyangZhou/CoOp, DATASETS.md)."""

    folder: str
    """Under the root of all data sets."""
    images: str
    """Folder of the images in `folder`; empty: the folder itself."""
    template: str
    """CoOp's and CLIP's usual prompt. CraFT itself trains with `a photo of a {}.` for all."""
    licence: str
    """In a few words and without warranty; the data set's page decides."""
    split_file: str | None = None
    """In `folder`. None: the layout is its own."""
    renamed: Mapping[str, str] | None = None
    """Class names of the original that the benchmark replaces."""
    is_test_only: bool = False


_SEE_PAGE = "see the data set's page"
_PHOTO = "a photo of a {}."

EUROSAT_NAMES = {
    "AnnualCrop": "Annual Crop Land",
    "Forest": "Forest",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "River": "River",
    "SeaLake": "Sea or Lake",
}

COOP_TABLE: dict[CoopName, CoopEntry] = {
    "caltech101": CoopEntry(
        "caltech-101",
        "101_ObjectCategories",
        _PHOTO,
        "CC BY 4.0 (CaltechDATA)",
        "split_zhou_Caltech101.json",
    ),
    "oxford_pets": CoopEntry(
        "oxford_pets",
        "images",
        "a photo of a {}, a type of pet.",
        "CC BY-SA 4.0; the photographs belong to their owners",
        "split_zhou_OxfordPets.json",
    ),
    "stanford_cars": CoopEntry(
        "stanford_cars", "", _PHOTO, _SEE_PAGE, "split_zhou_StanfordCars.json"
    ),
    "oxford_flowers": CoopEntry(
        "oxford_flowers",
        "jpg",
        "a photo of a {}, a type of flower.",
        _SEE_PAGE,
        "split_zhou_OxfordFlowers.json",
    ),
    "food101": CoopEntry(
        "food-101",
        "images",
        "a photo of {}, a type of food.",
        "scientific fair use; other uses by agreement with the owners of the photographs",
        "split_zhou_Food101.json",
    ),
    "fgvc_aircraft": CoopEntry(
        "fgvc_aircraft",
        "images",
        "a photo of a {}, a type of aircraft.",
        "non-commercial research only",
    ),
    "sun397": CoopEntry("sun397", "SUN397", _PHOTO, _SEE_PAGE, "split_zhou_SUN397.json"),
    "dtd": CoopEntry(
        "dtd", "images", "{} texture.", "research purposes", "split_zhou_DescribableTextures.json"
    ),
    "eurosat": CoopEntry(
        "eurosat",
        "2750",
        "a centered satellite photo of {}.",
        "MIT; Sentinel data under the Copernicus terms",
        "split_zhou_EuroSAT.json",
        renamed=EUROSAT_NAMES,
    ),
    "ucf101": CoopEntry(
        "ucf101",
        "UCF-101-midframes",
        "a photo of a person doing {}.",
        _SEE_PAGE,
        "split_zhou_UCF101.json",
    ),
    "imagenet": CoopEntry(
        "imagenet", "images", _PHOTO, "ImageNet's terms: non-commercial research and education"
    ),
    "imagenetv2": CoopEntry(
        "imagenetv2",
        "imagenetv2-matched-frequency-format-val",
        _PHOTO,
        _SEE_PAGE,
        is_test_only=True,
    ),
    "imagenet_sketch": CoopEntry("imagenet-sketch", "images", _PHOTO, _SEE_PAGE, is_test_only=True),
    "imagenet_a": CoopEntry(
        "imagenet-adversarial", "imagenet-a", _PHOTO, _SEE_PAGE, is_test_only=True
    ),
    "imagenet_r": CoopEntry(
        "imagenet-rendition", "imagenet-r", _PHOTO, _SEE_PAGE, is_test_only=True
    ),
}

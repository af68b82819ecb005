"""Nouns and their hypernyms from WordNet 3.0, and where ImageNet's classes stand among them.

File format: wndb(5WN), https://wordnet.princeton.edu/documentation/wndb5wn. ImageNet names its
classes by WordNet 3.0 offsets, so that a class is a node of this graph without any guessing.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from timm.data.imagenet_info import ImageNetInfo

VISIBLE_TOPICS = {
    5: "animal",
    6: "artifact",
    8: "body",
    13: "food",
    15: "location",
    17: "object",
    18: "person",
    20: "plant",
    27: "substance",
}
"""Lexicographer files (lexnames(5WN)) whose nouns name things that a photograph can show."""

MAX_WORDS = 3

_PROPER_NAME = re.compile("[A-Z][a-z]")
"""Capitalised words: names of people, places and Latin species, but not "T-shirt"."""


@dataclass(frozen=True)
class Synset:
    """One meaning."""

    topic: int
    lemmas: tuple[str, ...]
    hypernyms: tuple[int, ...]


@dataclass(frozen=True)
class WordNet:
    """The noun part of WordNet; a synset is named by its byte offset."""

    synsets: dict[int, Synset]
    senses: dict[str, tuple[int, ...]]
    """Lower-case lemma with spaces -> synsets, the most frequent meaning first."""
    familiar: frozenset[str]
    """Nouns that occur in the texts whose words were tagged with their meanings."""
    irregular_plurals: dict[str, str]

    def topic(self, offset: int) -> str | None:
        """The visible topic of a synset, if it has one."""
        return VISIBLE_TOPICS.get(self.synsets[offset].topic)

    def visible_sense(self, noun: str) -> int | None:
        """The most frequent meaning that can be photographed, if there is one."""
        for offset in self.senses.get(noun, ()):
            synset = self.synsets[offset]
            spelled = [lemma for lemma in synset.lemmas if lemma.lower() == noun]
            if self.topic(offset) and not any(map(_PROPER_NAME.search, spelled)):
                return offset
        return None

    def visible_nouns(self) -> dict[str, int]:
        """All common nouns of at most `MAX_WORDS` words with their visible meaning."""
        nouns = {}
        for noun in self.senses:
            offset = self.visible_sense(noun)
            if (
                offset is not None
                and len(noun.split()) <= MAX_WORDS
                and noun.replace(" ", "").replace("-", "").isalpha()
            ):
                nouns[noun] = offset
        return nouns

    def ancestors(self, offset: int) -> set[int]:
        """A synset and all its hypernyms up to the root."""
        found = {offset}
        front = [offset]
        while front:
            front = [up for node in front for up in self.synsets[node].hypernyms if up not in found]
            found.update(front)
        return found

    @cached_property
    def imagenet_offsets(self) -> list[int]:
        """Synset of each of ImageNet's 1,000 classes."""
        names: list[str] = ImageNetInfo("imagenet-1k").label_names()  # type: ignore[no-untyped-call]
        return [int(name.removeprefix("n")) for name in names]

    @cached_property
    def imagenet_ancestors(self) -> list[set[int]]:
        """Synset and hypernyms of each class."""
        return [self.ancestors(offset) for offset in self.imagenet_offsets]

    @cached_property
    def num_classes_below(self) -> Counter[int]:
        """How many ImageNet classes a synset is or covers."""
        return Counter(node for nodes in self.imagenet_ancestors for node in nodes)

    def plural(self, noun: str) -> str:
        """English plural; the last word carries it."""
        head, _, last = noun.rpartition(" ")
        if last in self.irregular_plurals:
            plural = self.irregular_plurals[last]
        elif last.endswith(("s", "x", "z", "ch", "sh")):
            plural = last + "es"
        elif last.endswith("y") and last[-2:-1] not in "aeiou":
            plural = last[:-1] + "ies"
        else:
            plural = last + "s"
        return f"{head} {plural}".strip()


def load_wordnet(folder: Path) -> WordNet:
    """Read `data.noun`, `index.noun` and `noun.exc`."""
    synsets = {}
    for line in _records(folder / "data.noun"):
        fields = line.split(" | ")[0].split()
        num_lemmas = int(fields[3], 16)
        lemmas = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * num_lemmas : 2])
        pointers = fields[5 + 2 * num_lemmas :]
        hypernyms = tuple(
            int(pointers[place + 1])
            for place in range(0, len(pointers), 4)
            if pointers[place] in ("@", "@i")
        )
        synsets[int(fields[0])] = Synset(int(fields[1]), lemmas, hypernyms)
    senses = {}
    familiar = set()
    for line in _records(folder / "index.noun"):
        fields = line.split()
        num_senses = int(fields[2])
        noun = fields[0].replace("_", " ")
        senses[noun] = tuple(int(field) for field in fields[-num_senses:])
        if int(fields[-num_senses - 1]) > 0:
            familiar.add(noun)
    irregular: dict[str, str] = {}
    for line in (folder / "noun.exc").read_text().splitlines():
        plural, singular = line.split()[:2]
        irregular.setdefault(singular.replace("_", " "), plural.replace("_", " "))
    return WordNet(synsets, senses, frozenset(familiar), irregular)


def _records(path: Path) -> list[str]:
    """Lines of a WordNet file without the licence, whose lines start with a blank."""
    return [line for line in path.read_text().splitlines() if not line.startswith(" ")]

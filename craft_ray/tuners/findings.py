"""What fitting a head found out beside the head: for the summary and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from craft_ray.method.heads import ChosenOffset, FittedHead
from craft_ray.method.heads.unlabelled import LEAST_CLASSES

NAMES_BY_RANK = 2
"""With fewer names than this by direction found, more names may show more directions."""


@dataclass(frozen=True)
class HeadFindings:
    """Of the last head that was fitted.

    Attributes:
        zero_shot_scale: how far zero-shot is trusted, at most 1; low where it is no better than
            chance.
        zero_shot_right: training images that zero-shot predicts rightly, which learned from none.
        rank: directions in which the answers vary.
        num_answers: logits or features of an image that the head sees.
        num_rows: images and views of them, whose number bounds the rank.
        num_unlabelled: images without labels.
        uses_unlabelled: whether the head learned from them.
        frequencies: estimated share of each class among them; empty without them.
        classes_met: the effective number of classes among them.
        classes_left: places of the classes without a labelled image, which are left to zero-shot.
        offset: the zero-shot logits that the head starts from, as `head.offset` calls them.
        offset_losses: on the training images, of those that there were to choose from.
        are_of_names: whether answers are logits of names, of which more can be asked about;
            features are as many as the model has.
    """

    zero_shot_scale: float
    zero_shot_right: int
    rank: int
    num_answers: int
    num_rows: int
    num_unlabelled: int = 0
    uses_unlabelled: bool = False
    frequencies: tuple[float, ...] = ()
    classes_met: float = 0.0
    classes_left: tuple[int, ...] = ()
    offset: str = "template"
    offset_losses: Mapping[str, float] = field(default_factory=dict)
    are_of_names: bool = True

    @classmethod
    def of(
        cls,
        fitted: FittedHead,
        seen_shape: Sequence[int],
        num_unlabelled: int,
        chosen: ChosenOffset | None = None,
        *,
        are_of_names: bool = True,
    ) -> HeadFindings:
        """From a fit to answers [1 + V, N, F], with an offset that was chosen, if it was."""
        num_rows = seen_shape[0] * seen_shape[1] + num_unlabelled
        num_classes = fitted.head.weight_FC.shape[1]
        found = cls(
            fitted.zero_shot_scale,
            fitted.zero_shot_right,
            fitted.rank,
            seen_shape[2],
            num_rows,
            num_unlabelled,
            classes_left=tuple(sorted(set(range(num_classes)) - set(fitted.classes))),
            are_of_names=are_of_names,
        )
        if chosen is not None:
            losses = {name: round(loss, 4) for name, loss in chosen.losses.items()}
            found = replace(found, offset=chosen.name, offset_losses=losses)
        if (mixture := fitted.mixture) is None:
            return found
        return replace(
            found,
            uses_unlabelled=fitted.uses_mixture,
            frequencies=tuple(round(float(share), 4) for share in mixture.frequencies_C),
            classes_met=round(mixture.num_classes_met, 2),
        )

    @classmethod
    def restore(cls, values: Mapping[str, Any]) -> HeadFindings:
        """Inverse of `as_dict`."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        lists = {name: tuple(known[name]) for name in ("frequencies", "classes_left")}
        return cls(**{**known, **lists})

    def as_dict(self) -> dict[str, Any]:
        """As JSON gives it back."""
        lists = {"frequencies": list(self.frequencies), "classes_left": list(self.classes_left)}
        return {**asdict(self), **lists}

    def sentences(self, class_names: Sequence[str]) -> list[str]:
        """For people: what they may want to act upon."""
        said = []
        if self.offset_losses:
            losses = (f"{loss:.3f} with {name}" for name, loss in self.offset_losses.items())
            said.append(
                f"Offset: {self.offset}, by the loss on the training images: {', '.join(losses)}."
            )
        if self.classes_left:
            said.append(self._of_classes_left(class_names))
        if self.num_unlabelled:
            said.append(self._of_unlabelled(class_names))
        is_bound_by_names = self.are_of_names and self.rank >= self.num_answers / NAMES_BY_RANK
        if is_bound_by_names and self.rank < self.num_rows - 1:
            said.append(
                f"The answers vary in {self.rank} directions, and {self.num_answers} were asked "
                f"for an image: about {NAMES_BY_RANK * self.rank} may show more "
                "(head.names, with head.kind probes)."
            )
        return said

    def _of_classes_left(self, class_names: Sequence[str]) -> str:
        names = [class_names[place] for place in self.classes_left]
        shown = ", ".join(names if len(names) <= 10 else [*names[:10], "..."])
        hint = (
            ""
            if self.num_unlabelled
            else " Images without labels (data.unlabelled) would tell how often these occur."
        )
        lack = "class has" if len(names) == 1 else "classes have"
        keep = "keeps" if len(names) == 1 else "keep"
        return f"{len(names)} {lack} no labelled image and {keep} zero-shot: {shown}.{hint}"

    def _of_unlabelled(self, class_names: Sequence[str]) -> str:
        shares = sorted(zip(self.frequencies, class_names, strict=True), reverse=True)
        listed = [f"{name} {share:.0%}" for share, name in shares]
        shown = ", ".join(listed if len(listed) <= 10 else [*listed[:3], "...", *listed[-3:]])
        images = f"{self.num_unlabelled:,} unlabelled images"
        if self.uses_unlabelled:
            return f"The head learned from {images} as well; estimated classes: {shown}."
        if self.classes_met < LEAST_CLASSES * len(class_names):
            return (
                f"The {images} were not used: they seem to hold about {self.classes_met:.1f} of "
                f"the {len(class_names)} classes ({shown}), and what is missing would be learned "
                "from images of other classes."
            )
        return f"The {images} were not used: images held out are predicted better without them."

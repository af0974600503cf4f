"""Named protocols of video object segmentation: every option that can change a number.

DAVIS 2017 scores each object of the first frame over the frames between the first and the last
(semi-supervised: the first mask is given), or, unsupervised, gives every true object the proposal
that serves it best. YouTube-VOS scores each object from the frame after its first mask on, apart
for classes that its training set has and that it has not.

`davis2017` and `davis2017-unsupervised` differ from the public evaluator in these options only:
decay is right for videos of any length, and an object is an index that occurs, not every number up
to the greatest one. On the published annotations, all of fewer than 256 frames and without gaps,
both give the same number.
"""

from dataclasses import dataclass, replace
from typing import Literal

from stad_eval.class_lists import YOUTUBE_VOS_SEEN
from stad_eval.input_error import InputError
from stad_eval.masks import BOUNDARY_TOLERANCE
from stad_eval.protocol_names import by_name

VOID = 255


@dataclass(frozen=True, kw_only=True)
class MaskProtocol:
    """How masks of the objects of a video are scored.

    Attributes:
        name: the id that results carry.
        pairing: a found object belongs to the true object of the same "index", or, "best", found
            objects are assigned to true ones so that the sum of their J&F means is the greatest.
        objects: which are scored: those of the "first-frame", or those of "any-frame".
        numbering: an object is an index that is "present", or every index up to the "greatest",
            so that an index left out is an object that is nowhere.
        frames: "inner": all but the first and the last; "all"; "after-first": those after the
            first frame that shows the object.
        void: ground truth of index 255 is "background", or "ignored" (such pixels count for
            neither side).
        unknown: found indices that belong to no object are "refused" or "ignored"; asked only
            where the pairing is by index.
        most_found: most objects that may be found in a video; None: no limit.
        decay: borders of the quarters of a video as "exact" numbers, or as numbers of 8 bits
            ("uint8"), which wrap in videos of more than 255 scored frames.
        listing: under which number an object's values stand: that of the true object ("truth"), or
            its place in the order of the found objects ("found").
        boundary_tolerance: distance allowed between boundaries, as a fraction of the diagonal.
        seen_classes: classes of the training set: scores are averaged over these ("seen") and all
            others ("unseen") apart; None: no such groups.
    """

    name: str
    pairing: Literal["index", "best"] = "index"
    objects: Literal["first-frame", "any-frame"] = "first-frame"
    numbering: Literal["present", "greatest"] = "present"
    frames: Literal["inner", "all", "after-first"] = "inner"
    void: Literal["background", "ignored"] = "background"
    unknown: Literal["refused", "ignored"] = "refused"
    most_found: int | None = None
    decay: Literal["exact", "uint8"] = "exact"
    listing: Literal["truth", "found"] = "truth"
    boundary_tolerance: float = BOUNDARY_TOLERANCE
    seen_classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.boundary_tolerance >= 0.0:
            raise InputError(
                f"protocol '{self.name}': bad boundary_tolerance",
                expected="0 or more",
                found=self.boundary_tolerance,
            )


_DAVIS = MaskProtocol(name="davis2017")
_UNSUPERVISED = MaskProtocol(
    name="davis2017-unsupervised", pairing="best", frames="all", void="ignored", most_found=20
)

MASK_PROTOCOLS: tuple[MaskProtocol, ...] = (
    _DAVIS,
    replace(_DAVIS, name="davis2017+official", numbering="greatest", decay="uint8"),
    _UNSUPERVISED,
    replace(
        _UNSUPERVISED,
        name="davis2017-unsupervised+official",
        numbering="greatest",
        decay="uint8",
        listing="found",
    ),
    MaskProtocol(
        name="youtube-vos",
        objects="any-frame",
        frames="after-first",
        void="ignored",
        unknown="ignored",
        seen_classes=YOUTUBE_VOS_SEEN,
    ),
)


def mask_protocol(name: str) -> MaskProtocol:
    """The mask protocol of that id.

    Raises:
        InputError: naming the nearest id, if there is none of that name.
    """
    known = {each.name: each for each in MASK_PROTOCOLS}
    return by_name(name, known, what="protocol of masks")

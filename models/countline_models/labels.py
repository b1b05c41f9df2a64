"""Class names: from a file, or those of COCO for models that were trained on it."""

from pathlib import Path
from typing import Final

from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.files.text_files import read_lines

# fmt: off
COCO_LABELS: Final[tuple[str, ...]] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
"""The 80 classes of COCO, in the order that detectors use."""


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names, one a line.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is not UTF-8 text or empty, or has a name twice.
    """
    if not path.exists():
        raise NotFoundError(f"there is no file {path}", hint="name a file with one class name a line: --labels FILE")
    labels = tuple(line.strip() for line in read_lines(path) if line.strip())
    if not labels:
        raise InvalidInputError(f"{path} names no class", hint="write one class name a line")
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise InvalidInputError(f"{path} names {twice[0]!r} twice", hint="give every class a name of its own")
    return labels


def labels_for(classes: int, given: tuple[str, ...] | None) -> tuple[str, ...]:
    """Class names for that number of classes: those given, else COCO's for 80, else class_0, class_1 and so on.

    Raises:
        InvalidInputError: the number of given names is not the number of classes.
    """
    if given is None:
        return COCO_LABELS if classes == len(COCO_LABELS) else tuple(f"class_{index}" for index in range(classes))
    if len(given) != classes:
        raise InvalidInputError(
            f"{len(given)} labels are given and the model has {classes} classes",
            hint="give a label for every class, in the model's order",
        )
    return given


def chosen_classes(names: tuple[str, ...], wanted: tuple[str, ...] | None) -> tuple[int, ...]:
    """Indices of the classes to keep, in the wanted order; all classes for None.

    Args:
        names: names of all classes of the model.
        wanted: names, or indices in digits.

    Raises:
        InvalidInputError: the model lacks one of them, or one is wanted twice.
    """
    if wanted is None:
        return tuple(range(len(names)))
    indices = tuple(_index_of(name, names) for name in wanted)
    if not indices:
        raise InvalidInputError("no class is left to detect", hint="name at least one class")
    if len(set(indices)) != len(indices):
        raise InvalidInputError(f"a class is named twice in {', '.join(wanted)}", hint="name each class once")
    return indices


def _index_of(name: str, names: tuple[str, ...]) -> int:
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    raise InvalidInputError(f"the model has no class {name!r}", hint=f"it has: {shown}")

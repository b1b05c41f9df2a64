"""How DeepStream shows pictures as players do: GStreamer's tag, the values of nvvideoconvert, sizes. Pure.

Sources: GStreamer's definition of the tag `image-orientation`; `gst-inspect-1.0` of NVIDIA's converters for
`flip-method`.
"""

from fractions import Fraction
from typing import Final

from countline_common.display import Orientation, displayed_wh, plausible_sar

ORIENTATION_TAG: Final = "image-orientation"
ORIENTATION_OF_TAG: Final = {
    "rotate-0": Orientation.UPRIGHT,
    "rotate-90": Orientation.CLOCKWISE,
    "rotate-180": Orientation.HALF_TURN,
    "rotate-270": Orientation.COUNTERCLOCKWISE,
    "flip-rotate-0": Orientation.MIRRORED,
    "flip-rotate-90": Orientation.ANTITRANSPOSED,
    "flip-rotate-180": Orientation.UPSIDE_DOWN,
    "flip-rotate-270": Orientation.TRANSPOSED,
}
FLIP_METHOD: Final = {
    Orientation.UPRIGHT: 0,
    Orientation.COUNTERCLOCKWISE: 1,
    Orientation.HALF_TURN: 2,
    Orientation.CLOCKWISE: 3,
    Orientation.MIRRORED: 4,
    Orientation.ANTITRANSPOSED: 5,
    Orientation.UPSIDE_DOWN: 6,
    Orientation.TRANSPOSED: 7,
}
NVMM_CAPS: Final = "video/x-raw(memory:NVMM)"


def shown_caps(decoded_wh: tuple[int, int], sar: Fraction | None, orientation: Orientation) -> str:
    """Return the caps to which nvvideoconvert brings pictures; pictures that are upright and square stay as they are.

    Args:
        decoded_wh: size of the decoded pictures.
        sar: sample aspect ratio; None if the stream states none.
        orientation: how the pictures are turned.
    """
    used = plausible_sar(sar)
    if used == 1 and orientation is Orientation.UPRIGHT:
        return NVMM_CAPS
    width, height = (max(2, side + side % 2) for side in displayed_wh(decoded_wh, used, orientation))  # as NV12 needs
    return f"{NVMM_CAPS},width={width},height={height}"

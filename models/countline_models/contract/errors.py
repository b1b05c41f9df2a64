"""The error of a model that breaks the contract, and what its author can do."""

from typing import Final

from countline_common.errors import InvalidInputError

EXPORT_HINT: Final = "export the network to ONNX again"
METADATA_HINT: Final = "write it again: countline models fuse MODEL.onnx --labels FILE -o OUT.onnx"
FUSE_HINT: Final = "make it a contract model: countline models fuse MODEL.onnx --head HEAD -o OUT.onnx"


class ContractError(InvalidInputError):
    """A model breaks the detection contract."""

    def __init__(self, source: str, problem: str, hint: str = FUSE_HINT) -> None:
        super().__init__(f"{source} breaks the detection contract: {problem}", hint=hint)

"""A contract model as a TensorRT plan: built in advance for one kind of GPU, served by Triton's backend `tensorrt`.

The tests check the texts here against NVIDIA's formats; they do not run them, for lack of that container and its GPU. A
model deployed with `--target gpu` needs no plan (`countline_models.repository.config`): there TensorRT works inside
ONNX Runtime, and CUDA runs the operators that TensorRT does not support.

A plan is useful if no engine may be built when a model is loaded. It fits only the version of TensorRT and the kind of
GPU that built it, so it is built with the container that serves it:

    docker run --rm --gpus all -v "$PWD/NAME:/model" nvcr.io/nvidia/tensorrt:YY.MM-py3 COMMAND

with the YY.MM of Triton's container, and COMMAND from `trtexec_command`. `plan_config_text` is its config.pbtxt:

    NAME/config.pbtxt
        /labels.txt
        /1/model.plan
"""

from collections.abc import Sequence
from typing import Final

from countline_common.triton.model_config import INPUT_NAME
from countline_models.contract_model import ContractModel
from countline_models.repository.config import config_text
from countline_models.repository.settings import MAX_BATCH_SIZE, UNTUNED, ModelBackend, ModelTarget, Tuning

USUAL_BATCH: Final = 4
"""The plan is fastest with this number of frames, which Triton joins when some cameras are busy."""
WORKSPACE_MIB: Final = 1024


def trtexec_command(contract: ContractModel, tuning: Tuning = UNTUNED, folder: str = "/model/1") -> str:
    """The command that builds `model.plan` from `model.onnx`, in NVIDIA's container for TensorRT.

    >>> print(trtexec_command(ContractModel(384, 640, 100, ("person",), 0.4)))  # doctest: +NORMALIZE_WHITESPACE
    trtexec --onnx=/model/1/model.onnx --saveEngine=/model/1/model.plan --fp16 --memPoolSize=workspace:1024
        --minShapes=frames:1x384x640x3 --optShapes=frames:4x384x640x3 --maxShapes=frames:8x384x640x3
    """
    most = tuning.max_batch_size or MAX_BATCH_SIZE
    batches = {"min": 1, "opt": min(USUAL_BATCH, most), "max": most}
    shapes = (f"--{size}Shapes={INPUT_NAME}:{n}x{contract.height}x{contract.width}x3" for size, n in batches.items())
    files = f"--onnx={folder}/model.onnx --saveEngine={folder}/model.plan"
    return f"trtexec {files} --fp16 --memPoolSize=workspace:{WORKSPACE_MIB} {' '.join(shapes)}"


def plan_config_text(
    name: str, contract: ContractModel, versions: Sequence[int] | None = None, tuning: Tuning = UNTUNED
) -> str:
    """The config.pbtxt of a plan; the arguments are those of `config_text`."""
    return config_text(name, contract, versions, tuning, ModelTarget.GPU, ModelBackend.TENSORRT)

"""Puts contract models into a Triton model repository.

    <repository>/<name>/config.pbtxt
                       /labels.txt           class names, one a line
                       /<version>/model.onnx

How the configuration is written is told in `countline_models.repository.config`.
"""

from pathlib import Path

from countline_common.errors import AlreadyExistsError, InvalidInputError
from countline_common.triton.models import NAME_HINT, NAME_PATTERN
from countline_models.contract import check_contract
from countline_models.contract_model import ContractModel
from countline_models.repository.config import config_text, parse_config


def place_model(
    model: Path | bytes,
    name: str,
    repository: Path,
    *,
    labels: tuple[str, ...] | None = None,
    version: int = 1,
    replace: bool = False,
) -> ContractModel:
    """Put a contract model into a repository, after it was held to the contract.

    Args:
        model: the ONNX file, or its bytes.
        name: what Triton and cameras will call it.
        repository: made where it does not exist.
        labels: class names instead of those the file carries.
        version: number of its folder.
        replace: whether a version that is there already may be replaced.

    Returns:
        The model, with the labels that were written.

    Raises:
        InvalidInputError: the file breaks the contract, or the name cannot be used.
        AlreadyExistsError: that version is there already.
    """
    _check_name(name)
    contract = check_contract(model, labels=labels)
    folder = repository / name
    target = folder / str(version) / "model.onnx"
    if target.exists() and not replace:
        raise AlreadyExistsError(
            f"{repository} has version {version} of {name!r} already", hint="give another --name or --version"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(".model.onnx")
    fresh.write_bytes(model.read_bytes() if isinstance(model, Path) else model)
    fresh.replace(target)  # at once: a server that loads meanwhile never sees half a model
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in contract.labels), encoding="utf-8")
    # Last: it may name this version, which has to be there then.
    (folder / "config.pbtxt").write_text(config_text(name, contract, _served(folder, version)), encoding="utf-8")
    return contract


def _served(folder: Path, version: int) -> list[int] | None:
    """The versions that a deployed model serves, and the new one with them; None where Triton takes the newest."""
    file = folder / "config.pbtxt"
    policy = parse_config(file.read_text(encoding="utf-8"), str(file)).version_policy if file.is_file() else None
    return [*policy.specific.versions, version] if policy and policy.HasField("specific") else None


def _check_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInputError(f"{name!r} cannot be the name of a model", hint=NAME_HINT)

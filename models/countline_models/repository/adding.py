"""Puts a contract model into a repository by hand, without a service."""

from pathlib import Path

from countline_models.contract import check_contract
from countline_models.contract_model import ContractModel
from countline_models.repository.folder import ModelFolder
from countline_models.repository.names import check_name


def add_model(
    model: Path | bytes,
    name: str,
    repository: Path,
    *,
    labels: tuple[str, ...] | None = None,
    version: int = 1,
    replace: bool = False,
) -> ContractModel:
    """Check a model against the contract and add it to a repository.

    Args:
        model: the ONNX file, or its bytes.
        name: name of the model for Triton and cameras.
        repository: its folder; made if it does not exist.
        labels: class names that replace those in the file.
        version: number of the version.
        replace: replace a version that exists.

    Returns:
        What the model declares, with the labels that were written.

    Raises:
        InvalidInputError: the file breaks the contract, or the name or number cannot be used.
        AlreadyExistsError: that version exists.
    """
    check_name(name)
    contract = check_contract(model, labels=labels)
    ModelFolder(repository).add(name, version, model, contract, replace=replace)
    return contract

"""What is wrong with a drawing that cannot be counted with."""


class GeometryError(ValueError):
    """A line, zone, anchor or ground that cannot be counted with."""

    def __init__(self, field: str, problem: str, hint: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        """Path of the field, e.g. `lines[gate].points`."""
        self.problem = problem
        self.hint = hint

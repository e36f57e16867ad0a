from enum import StrEnum


class TerminationKind(StrEnum):
    HARD = "hard"
    SOFT = "soft"

    @classmethod
    def _missing_(cls, value: object) -> "TerminationKind | None":
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = str(value)
        return member

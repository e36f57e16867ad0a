from enum import StrEnum


class TerminationReason(StrEnum):
    EXTERNAL = "external"
    INTERNALERROR = "internalerror"
    KEYEXPIRED = "keyexpired"
    LOST = "lost"
    STARTUPTIMEOUT = "startuptimeout"
    SWEPT = "swept"

    @classmethod
    def _missing_(cls, value: object) -> "TerminationReason | None":
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = str(value)
        return member

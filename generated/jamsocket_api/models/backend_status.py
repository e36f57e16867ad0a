from enum import StrEnum


class BackendStatus(StrEnum):
    HARD_TERMINATING = "hard-terminating"
    LOADING = "loading"
    READY = "ready"
    SCHEDULED = "scheduled"
    STARTING = "starting"
    TERMINATED = "terminated"
    TERMINATING = "terminating"
    WAITING = "waiting"

    @classmethod
    def _missing_(cls, value: object) -> "BackendStatus | None":
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = str(value)
        return member

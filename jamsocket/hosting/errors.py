"""What keeps the development server from starting.

JamsocketError
└── DevServerError
    ├── PortInUseError
    └── CommandNotFoundError
"""

from __future__ import annotations

from ..errors import JamsocketError


class DevServerError(JamsocketError):
    """The development server cannot start, or not with these arguments; the message says what to do."""


class PortInUseError(DevServerError):
    """Something else listens on the port."""


class CommandNotFoundError(DevServerError):
    """There is no such command, or it is not executable."""

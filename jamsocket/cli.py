"""The `jamsocket` command. Needs the extra `cli`; without it, it says so."""

from __future__ import annotations

import sys


def main() -> None:
    """The command's entry point."""
    try:
        from .command import app

        app()
    except ImportError as error:
        if error.name is None:  # not on this system
            sys.exit(f"jamsocket: {error}")
        missing = error.name
        if missing.partition(".")[0] == "jamsocket":
            raise
        sys.exit(f"The jamsocket command needs the extra 'cli' ({missing} is missing): pip install 'jamsocket[cli]'")
    except KeyboardInterrupt:  # while it was still getting ready
        sys.exit(130)


if __name__ == "__main__":
    main()

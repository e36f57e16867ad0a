"""The `jamsocket` command. Needs the extra `cli`; without it, it says so."""

from __future__ import annotations

import sys


def main() -> None:
    """The command's entry point."""
    try:
        from .command import app
    except ImportError as error:
        missing = error.name or str(error)
        if missing.partition(".")[0] == "jamsocket":
            raise
        sys.exit(f"The jamsocket command needs the extra 'cli' ({missing} is missing): pip install 'jamsocket[cli]'")
    except RuntimeError as error:  # not on this system
        sys.exit(f"jamsocket: {error}")
    app()


if __name__ == "__main__":
    main()

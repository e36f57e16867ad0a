"""The coverage-guided run: `scripts/fuzz [SECONDS]`. What it finds worth keeping goes to tests/fuzz/corpus."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
CRASHES = HERE.parent.parent / ".cache/fuzz"
MAX_CORPUS_BYTES = 150_000
WATCHED = ("jamsocket/sse.py", "jamsocket/content.py", "jamsocket/states.py", "fuzz/reference.py", "sseclient/")


def fuzz(arguments: list[str]) -> None:
    """In a process of its own: libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["jamsocket", "sseclient", "tests.fuzz"]):
        from tests.fuzz.check import check
    atheris.Setup(["fuzz", *arguments], check)
    atheris.Fuzz()


def seeds() -> Iterator[bytes]:
    """The vectors of tests/test_sse.py and a few states, served in each way."""
    from tests.test_sse import VECTORS

    bodies = [stream for vectors in VECTORS.values() for _, stream, _ in vectors]
    for status in ("ready", "terminated", "warming"):
        text = (
            f'{{"status":"{status}","time":"2026-01-02T03:04:05.678Z","termination_reason":"swept","exit_error":true}}'
        )
        bodies.append(f"event: message\nid: {status}\ndata: {text}\n\n".encode())
    for number, body in enumerate(bodies):
        yield bytes([number % 3, number % 16, number, number % 10]) + body
    import gzip

    for body in bodies[:3]:
        yield b"\x03\x00\x00\x00" + gzip.compress(body, mtime=0) + gzip.compress(b"\n", mtime=0)


class Arcs:
    """Which line followed which in the watched files, with how often in powers of two."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, int, int], int] = {}

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        name = frame.f_code.co_filename
        if not any(part in name for part in WATCHED):
            return None
        before = frame.f_lineno

        def line(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal before
            arc = (name, before, frame.f_lineno)
            self.counts[arc] = self.counts.get(arc, 0) + 1
            before = frame.f_lineno
            return line

        return line

    def features(self) -> set[tuple[str, int, int, int]]:
        return {(*arc, min(count.bit_length(), 4)) for arc, count in self.counts.items()}


def minimise(directories: list[Path]) -> None:
    """Keeps, smallest first, each input that goes a way which no smaller one goes; the others are removed."""
    from tests.fuzz.check import check

    contents = {path.read_bytes() for directory in directories for path in directory.iterdir() if path.is_file()}
    kept: list[bytes] = []
    known: set[tuple[str, int, int, int]] = set()
    for content in sorted(contents, key=lambda content: (len(content), content)):
        arcs = Arcs()
        sys.settrace(arcs)
        try:
            check(content)
        finally:
            sys.settrace(None)
        news = arcs.features() - known
        if news and sum(map(len, kept)) + len(content) <= MAX_CORPUS_BYTES:
            known |= news
            kept.append(content)
    for path in CORPUS.iterdir():
        path.unlink()
    for content in kept:
        (CORPUS / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    print(f"corpus: {len(kept)} of {len(contents)} inputs, {sum(map(len, kept))} bytes, {len(known)} ways")


def main(seconds: int) -> int:
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris==3.0.0", file=sys.stderr)
        return 2
    CORPUS.mkdir(exist_ok=True)
    CRASHES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="jamsocket-fuzz-") as scratch:
        found, started = Path(scratch, "found"), Path(scratch, "seeds")
        found.mkdir()
        started.mkdir()
        for content in seeds():
            (started / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
        command = [sys.executable, "-m", "tests.fuzz.run", "--child", str(found), str(CORPUS), str(started)]
        options = [
            f"-max_total_time={seconds}",
            "-max_len=2048",
            "-timeout=20",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
            f"-dict={HERE / 'dictionary'}",
            f"-artifact_prefix={CRASHES}/",
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        code = subprocess.run([*command, *options], env=environment, check=False).returncode
        if code != 0:
            print(
                f"Something is wrong: see above. The input is in {CRASHES}; once more: scripts/fuzz FILE",
                file=sys.stderr,
            )
            return 1
        minimise([CORPUS, started, found])
    return 0


if __name__ == "__main__":
    import logging

    # A thousand warnings about skipped events would be the output.
    logging.getLogger("jamsocket").addHandler(logging.NullHandler())
    logging.getLogger("jamsocket").propagate = False
    if sys.argv[1:2] == ["--child"]:
        fuzz(sys.argv[2:])
    elif sys.argv[1:] and Path(sys.argv[1]).is_file():
        from tests.fuzz.check import check

        check(Path(sys.argv[1]).read_bytes())
        print("nothing is wrong with it")
    else:
        sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 60))

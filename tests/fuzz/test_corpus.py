"""Every input that the fuzzer found worth keeping, replayed; and proof that the checks would notice a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from jamsocket.sse import EventDecoder, ServerSentEvent
from tests.fuzz import check as checks
from tests.fuzz.reference import interpret
from tests.test_sse import VECTORS, Outcome

CORPUS = Path(__file__).parent / "corpus"


def check_all() -> None:
    for path in sorted(CORPUS.iterdir()):
        try:
            checks.check(path.read_bytes())
        except Exception as error:
            error.add_note(f"input: {path}")
            raise


def test_the_corpus_decodes_as_the_standard_says() -> None:
    inputs = list(CORPUS.iterdir())
    assert len(inputs) > 50, "the corpus is there"
    assert sum(path.stat().st_size for path in inputs) < 200_000, "and is small"
    check_all()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(stream, expected, id=f"{rule}: {name}")
        for rule, vectors in VECTORS.items()
        for name, stream, expected in vectors
    ],
)
def test_the_reference_agrees_with_the_vectors(stream: bytes, expected: Outcome) -> None:
    """The model is no oracle unless it knows the rules too."""
    model = interpret(stream)
    events = [ServerSentEvent(type_, data, id_) for type_, data, id_ in model.events]
    assert Outcome(events, model.last_event_id, model.retry) == expected


class Wrong(EventDecoder):
    """A decoder with one mistake."""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        return [ServerSentEvent(event.event, event.data.rstrip(), event.id) for event in super().feed(chunk)]


class Forgetful(EventDecoder):
    """A decoder that starts every chunk afresh."""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        self._line.clear()
        return super().feed(chunk)


@pytest.mark.parametrize("wrong", [Wrong, Forgetful])
def test_a_mistake_would_be_noticed(wrong: type[EventDecoder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "EventDecoder", wrong)
    with pytest.raises(checks.Disagreement):
        check_all()

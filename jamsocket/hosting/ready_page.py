"""The page behind a `ready_url`: what it says of a backend, in words for people who know nothing of them. No I/O."""

from __future__ import annotations

from html import escape
from string import Template

from attrs import frozen

from .lifecycle import Entry, Lifecycle, Status

# What a person sees of the way to `ready`.
_STEPS = {
    Status.SCHEDULED: "Asked for",
    Status.LOADING: "Loading",
    Status.STARTING: "Starting",
    Status.WAITING: "Waiting for its first answer",
    Status.READY: "Ready",
}

_AGAIN = "Go back to where you came from and open it again."
_TELL = f"{_AGAIN} If it fails again, tell the people who run the application."


@frozen
class Words:
    """What happened, in a few words and in a sentence, and what to do."""

    title: str
    what: str
    advice: str


GONE = Words(
    "This link is no longer valid",
    "It has expired, the server was restarted, or the address is not complete.",
    _AGAIN,
)


def ready_page(template: str, backend_id: str, life: Lifecycle, url: str) -> str:
    """The page for a backend that is not ready.

    Args:
        template: the page's file.
        backend_id: whose page it is.
        life: what has become of the backend so far.
        url: where to go when it is ready. A secret, as the page's own address is.
    """
    status = life.history[-1].status
    if status is Status.TERMINATED:
        words = what_happened(life)
        link = f'<a href="/#{escape(backend_id)}">its log and its history</a>'
        developers = f'<p class="developers">For developers: {link} are on the dashboard.</p>'
        return _fill(template, words, f'data-state="failed" data-status="{status.word}"', developers)
    attributes = (
        f'data-state="waiting" data-status="{status.word}" data-url="{escape(url)}" '
        f'data-stream="/v2/backend/{escape(backend_id)}/status/stream"'
    )
    if status >= Status.TERMINATING:
        ending = Words("It is ending", "It was asked to stop, and takes a moment to finish.", _AGAIN)
        return _fill(template, ending, attributes, "", refresh=True)
    words = Words("Getting ready…", "You will be taken there as soon as it is.", "")
    steps = "".join(
        f'<li data-status="{step.word}" data-is="{_is(step, status)}">{escape(text)}</li>'
        for step, text in _STEPS.items()
    )
    patience = '<p class="patience">It takes longer than usual. There is nothing to do but wait.</p>'
    return _fill(template, words, attributes, f'<ol class="steps">{steps}</ol>{patience}', refresh=True)


def gone_page(template: str) -> str:
    """The page for a link that leads nowhere."""
    return _fill(template, GONE, 'data-state="gone"', "")


def what_happened(life: Lifecycle) -> Words:
    """Why a backend is gone; only what anybody may know."""
    end = life.history[-1]
    if end.reason is None:
        return _by_itself(end, life.was_ready)
    if end.reason == "external":
        how = "It was stopped at once" if end.kind == "hard" else "It was stopped"
        return Words("It was stopped", f"{how}, by the application or by somebody who looks after it.", _AGAIN)
    if end.reason == "swept":
        return Words("It has ended", "Nobody was connected for a while, or its time was up.", _AGAIN)
    if end.reason == "startuptimeout":
        return Words("It did not start in time", "It was started, but never answered.", _TELL)
    if end.reason == "keyexpired":
        return Words("It has ended", "The server lost sight of it and let it go.", _AGAIN)
    if end.reason == "lost":
        return Words("It was lost", "The machine that it ran on is gone.", _AGAIN)
    return Words("Something went wrong", "The server failed while it looked after it.", _TELL)


def _by_itself(end: Entry, was_ready: bool) -> Words:
    is_error = end.public().get("exit_error", False)
    if was_ready:
        if is_error:
            return Words("It has crashed", "It was ready, and then stopped with an error.", _TELL)
        return Words("It has ended", "It was ready, and has ended by itself.", _AGAIN)
    if is_error:
        return Words("It could not start", "It stopped with an error before it was ready.", _TELL)
    return Words("It could not start", "It ended before it was ready.", _TELL)


def _is(step: Status, present: Status) -> str:
    return "done" if step < present else "now" if step is present else "next"


def _fill(template: str, words: Words, attributes: str, more: str, *, refresh: bool = False) -> str:
    return Template(template).substitute(
        title=escape(words.title),
        what=escape(words.what),
        advice=escape(words.advice),
        attributes=attributes,
        more=more,
        # Whoever has no scripts asks again and again; the answer is the way on as soon as it is ready.
        refresh='<noscript><meta http-equiv="refresh" content="2"></noscript>' if refresh else "",
    )

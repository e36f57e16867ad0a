"""`scripts/mutants` in short: every mutation still fits the source, and a few are killed here and now."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts/mutants"


def load() -> ModuleType:
    """The script as a module; it has no suffix to import it by."""
    loader = importlib.machinery.SourceFileLoader("mutants", str(SCRIPT))
    spec = importlib.util.spec_from_loader("mutants", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = bytecode
    return module


mutants = load()
SOURCE = (SCRIPT.parent.parent / "jamsocket/sse.py").read_text()


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.rule)
def test_each_mutation_fits_the_source(mutant: mutants.Mutant) -> None:  # type: ignore[name-defined]
    assert mutants.apply(SOURCE, mutant) != SOURCE


def test_each_rule_is_broken_once() -> None:
    rules = [mutant.rule for mutant in mutants.MUTANTS]
    assert len(rules) == len(set(rules))
    assert len({mutants.apply(SOURCE, mutant) for mutant in mutants.MUTANTS}) == len(rules)


def test_a_mutation_that_does_not_fit_is_an_error() -> None:
    for old, new in (("no such text", ""), ("return", ""), ("class EventDecoder:", "class EventDecoder:")):
        with pytest.raises(ValueError, match="a rule"):
            mutants.apply(SOURCE, mutants.Mutant("a rule", old, new))


def test_a_mutant_is_killed_and_what_is_none_survives(tmp_path: Path) -> None:
    """The whole way: copy, mutate, run the tests; once with a mutation, once with a change that breaks no rule."""
    base = tmp_path / "base"
    base.mkdir()
    mutants.prepare(base)
    killed = mutants.MUTANTS[0]
    survived, killer, _ = mutants.judge(base, killed, ["tests/test_sse.py", "-k", "byte"])
    assert not survived
    assert "byte order mark" in killer
    harmless = mutants.Mutant("nothing", "kept: it tells", "kept, because it tells")
    survived, killer, _ = mutants.judge(base, harmless, ["tests/test_sse.py", "-k", "byte"])
    assert survived, killer

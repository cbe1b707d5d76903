"""The command line loads what it is asked for, and knows everything when it is not."""

from __future__ import annotations

import argparse

import pytest

from geoservice import cli
from geoservice.bench.run import BENCHMARKS, BY_DEFAULT


def words_of(parser: argparse.ArgumentParser) -> list[str]:
    (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return list(commands.choices)


@pytest.mark.parametrize("kind", cli.KINDS)
def test_a_command_is_found_by_its_first_word(kind):
    """Every word leads to the file that adds it, which adds no other."""
    for word in cli.KINDS[kind]:
        assert sorted(words_of(cli._parser(word))) == sorted(cli.KINDS[kind])


@pytest.mark.parametrize(
    "line",
    [
        "messages list --limit 0",
        "messages list --limit 99999999999999999999",
        "token --customer ada --ttl-s -5",
        "keys create --role ops --name ",
        "keys create --role ops --name a\nb",
        f"keys create --role ops --name {'x' * 201}",
        "customers erase ada --reason ",
        "explain d1 --reason ",
        "serve --processes many",
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(line, capsys):
    """A number out of bounds, a name or a reason of nothing: the command line says what it takes, and ends with 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split(" "))
    assert ended.value.code == 2
    assert "error: argument" in capsys.readouterr().err


def test_the_benchmarks_are_all_named(capsys):
    """`bench --help` names every benchmark, and which of them run when none is named."""
    with pytest.raises(SystemExit):
        cli.main(["bench", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{', '.join(BY_DEFAULT)} (these if none is named)" in said
    assert [name for name in BENCHMARKS if f" {name}" not in said.partition("WHAT ")[2]] == []


@pytest.mark.parametrize("first", [None, "--help", "nonsense"])
def test_whoever_names_no_command_is_told_of_all(first):
    """Without a command, and with one that does not exist, all of them are known."""
    assert sorted(words_of(cli._parser(first))) == sorted(word for words in cli.KINDS.values() for word in words)

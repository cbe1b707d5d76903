"""Tables and diagrams of the documentation that the code knows better, made from the code."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from geoservice import cli, errors
from geoservice.api.routing import Route
from geoservice.app import all_routes
from geoservice.config import SETTINGS, load_settings
from geoservice.decisions.facts import RetailerDefaults
from geoservice.decisions.reasons import REASONS, Gate
from geoservice.decisions.taxonomy import DEPARTMENTS, TAXONOMY
from geoservice.decisions.templates import FILTERS, VARIABLES
from geoservice.demo.fcm_stand_in import FcmStandIn
from geoservice.demo.phones import Phones
from geoservice.geofencing.presence import presence_diagram
from geoservice.telemetry import metrics
from geoservice.vocabulary import MESSAGE_MOVES, MessageState
from geoservice.workflows import records
from geoservice.workflows.export import what_is_kept
from geoservice.workflows.languages import language_of
from geoservice.workflows.records import Kept

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MIGRATIONS = ROOT / "geoservice" / "storage" / "migrations" / "versions"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


def code(text: str) -> str:
    return f"`{text}`"


# One function a section ---------------------------------------------------------------------------------------------


def settings() -> str:
    def default(setting):
        if callable(setting.default):
            return "by user"
        return "" if setting.default is None else code(setting.default)

    return table(
        ["setting", "value", "default", "meaning"],
        [[code(s.name), s.type_text, default(s), s.doc + (" Secret." if s.secret else "")] for s in SETTINGS],
    )


def all_metrics() -> list[object]:
    return [each for each in vars(metrics).values() if hasattr(each, "_labelnames")]


def exposed_name(metric) -> str:
    return metric._name + ("_total" if metric._type == "counter" else "")


def metric_table() -> str:
    return table(
        ["metric", "type", "labels", "meaning"],
        [
            [code(exposed_name(m)), m._type, ", ".join(map(code, m._labelnames)), m._documentation]
            for m in all_metrics()
        ],
    )


def reasons() -> str:
    parts = []
    for gate in Gate:
        rows = [
            [f"`{reason.value}`", text.ops, text.customer, text.docs]
            for reason, text in REASONS.items()
            if text.gate is gate
        ]
        head = ["reason", "for operations", "for the customer", "rule"]
        parts.append(f"### {gate.value}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def routes() -> str:
    return route_table(all_routes(steerable=False))


def demo_routes() -> str:
    return route_table(Phones(FcmStandIn()).routes)


def route_table(listed: Iterable[Route]) -> str:
    def who(route: Route) -> str:
        if route.roles is None:
            return "customer"
        return ", ".join(sorted(role.value for role in route.roles)) or "anybody"

    def query(route: Route) -> str:
        if route.query is None:
            return ""
        return ", ".join(code(field.encode_name) for field in msgspec.structs.fields(route.query))

    return table(
        ["route", "who", "query", "does"],
        [
            [
                code(f"{route.method} {route.path}"),
                who(route),
                query(route),
                (inspect.getdoc(route.handler) or "").partition("\n")[0],
            ]
            for route in listed
        ],
    )


def all_commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that can be run, with its parser: ``keys create`` and so on."""

    def walk(parser: argparse.ArgumentParser, words: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not groups:
            yield words, parser
        for group in groups:
            for name, child in group.choices.items():
                yield from walk(child, f"{words} {name}")

    return walk(cli._parser(), "geoservice")


def commands() -> str:
    def arguments(parser: argparse.ArgumentParser) -> str:
        words = []
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction) or action.help is argparse.SUPPRESS:
                continue
            value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
            if not action.option_strings:
                words.append(f"[{value} …]" if action.nargs == "*" else f"{value}{' …' if action.nargs == '+' else ''}")
            else:
                word = action.option_strings[0] + ("" if action.nargs == 0 else f" {value}")
                words.append(word if action.required else f"[{word}]")
        return " ".join(words)

    return table(
        ["command", "does"],
        [[code(f"{name} {arguments(parser)}".strip()), parser.description or ""] for name, parser in all_commands()],
    )


def mermaid(diagram: str) -> str:
    return f"```mermaid\n{diagram.strip()}\n```"


def message_states() -> str:
    order = list(MessageState)
    lines = ["stateDiagram-v2", f"    [*] --> {order[0]}"]
    for state in order:
        then = sorted(MESSAGE_MOVES[state], key=order.index)
        lines += [f"    {state} --> {each}" for each in then] or [f"    {state} --> [*]"]
    return mermaid("\n".join(lines))


def presence_states() -> str:
    return mermaid(presence_diagram())


def template_variables() -> str:
    return table(["variable", "holds"], [[f"`{{{{ {name} }}}}`", what] for name, what in VARIABLES.items()])


def template_filters() -> str:
    return textwrap.fill(", ".join(code(name) for name in sorted(FILTERS)) + ".", 120, break_on_hyphens=False)


def limit_defaults() -> str:
    """What holds for a campaign that says nothing, in the units of its fields."""
    defaults = RetailerDefaults()
    named = {
        "min_gap_s": "seconds after any message before the next one",
        "cooldown_s": "seconds after this campaign's message before it comes again",
        "per_visit": "messages on one visit, of all campaigns together",
    }
    rows = [[code(name), f"{getattr(defaults, name):,}", what] for name, what in named.items()]
    return table(["limit", "default", "meaning"], rows)


def kept(rows: Iterable[Kept]) -> Callable[[], str]:
    def make() -> str:
        there, defaults, english = columns(), load_settings({}), language_of(None)
        return table(
            ["table", "columns", "why", "how long"],
            [
                [
                    code(row.table),
                    ", ".join(map(code, there[row.table])),
                    row.why,
                    what_is_kept(row, defaults, english)["kept"],
                ]
                for row in rows
            ],
        )

    return make


def taxonomy() -> str:
    rows = []
    for name, categories in DEPARTMENTS.items():
        kind = TAXONOMY[categories[0]]
        rows.append([name.replace("-", " "), "no" if kind is None else "**yes**", ", ".join(map(code, categories))])
    return table(["department or class", "delicate", "categories"], rows)


SECTIONS: dict[tuple[str, str], Callable[[], str]] = {
    ("settings.md", "settings"): settings,
    ("metrics.md", "metrics"): metric_table,
    ("reasons.md", "reasons"): reasons,
    ("routes.md", "routes"): routes,
    ("phone.md", "demo routes"): demo_routes,
    ("README.md", "commands"): commands,
    ("states.md", "message states"): message_states,
    ("states.md", "presence states"): presence_states,
    ("products.md", "taxonomy"): taxonomy,
    ("first-campaign.md", "variables"): template_variables,
    ("first-campaign.md", "filters"): template_filters,
    ("first-campaign.md", "limits"): limit_defaults,
    ("privacy.md", "customers"): kept(records.CUSTOMERS),
    ("privacy.md", "evidence"): kept(records.EVIDENCE),
    ("privacy.md", "shop"): kept(records.SHOP),
}
"""(page, name of the markers) -> what stands between them."""

_SECTION = re.compile(r"(<!-- begin: (?P<name>[\w ]+) -->\n)(?P<text>.*?)(<!-- end: (?P=name) -->)", re.DOTALL)


def sections_of(page: str) -> dict[str, str]:
    return {
        match["name"]: match["text"].rstrip("\n")
        for match in _SECTION.finditer((DOCS / page).read_text(encoding="utf-8"))
    }


def write_section(page: str, name: str, text: str) -> None:
    path = DOCS / page
    filled = _SECTION.sub(
        lambda match: f"{match[1]}{text}\n{match[4]}" if match["name"] == name else match[0],
        path.read_text(encoding="utf-8"),
    )
    path.write_text(filled, encoding="utf-8")


# What the database holds --------------------------------------------------------------------------------------------

_TABLE = re.compile(r"^create table (\w+) \(\n(.*?)^\)", re.MULTILINE | re.DOTALL)
_ADDED = re.compile(r"alter table (?:if exists )?(\w+)\s+add column (?:if not exists )?(\w+)", re.IGNORECASE)
_COLUMN = re.compile(r"^    (?!primary |unique |foreign |check |constraint )(\w+) ", re.MULTILINE)


def columns() -> dict[str, list[str]]:
    """Tables and their columns, as the migrations make them."""
    found: dict[str, list[str]] = {}
    for path in sorted(MIGRATIONS.glob("*.sql")):
        sql = path.read_text(encoding="utf-8")
        for name, body in _TABLE.findall(sql):
            found[name] = _COLUMN.findall(body)
        for name, column in _ADDED.findall(sql):
            found[name].append(column)
    return found


# Codes of errors ----------------------------------------------------------------------------------------------------

PACKAGE = ROOT / "geoservice"
_CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_CODE_STANDS_AT = {"ErrorDetail": 1, "_problem": 1, "_refuse": 1, "refuse": 2, "add": 2}
"""Calls that name the code of a detail, and which argument it is."""


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be; ``{key}`` in an f-string stands for every key that is used so."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", getattr(node.func, "attr", "")), node


def detail_codes(path: Path) -> set[str]:
    """Codes of details that a module names itself; ``*_invalid`` where a part of it is a variable."""
    found = set()
    for name, call in _calls(path):
        place = _CODE_STANDS_AT.get(name)
        if place is not None and len(call.args) > place:
            found.update(text for text in _texts(call.args[place]) if _CODE.fullmatch(text.replace("*", "x")))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name in {"position_problem", "_code_of"}:
            tuples = (node.elts for node in ast.walk(function) if isinstance(node, ast.Tuple) and node.elts)
            at = 0 if function.name == "position_problem" else -1
            returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value)
            for each in (*(elts[at] for elts in tuples), *returned):
                found.update(text for text in _texts(each) if _CODE.fullmatch(text))
        if isinstance(function, ast.Assign) and ast.unparse(function.targets[0]) == "code":
            both = function.value
            if isinstance(both, ast.IfExp):
                found.update((*_texts(both.body), *_texts(both.orelse)))
    return found


def problem_codes() -> set[str]:
    """Codes that a problem document may have."""
    kinds = list(_all_subclasses(errors.RequestError)) + list(_all_subclasses(errors.Unavailable))
    found = {kind.code for kind in (errors.RequestError, errors.Unavailable, *kinds)}
    raised = {kind.__name__ for kind in kinds}
    for path in PACKAGE.rglob("*.py"):
        for name, call in _calls(path):
            if name in raised:
                found.update(text for word in call.keywords if word.arg == "code" for text in _texts(word.value))
            elif name == "problem" and len(call.args) > 1:
                found.update(_texts(call.args[1]))
    return found


def _all_subclasses(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from _all_subclasses(child)

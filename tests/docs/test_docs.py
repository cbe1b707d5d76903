"""What the documentation says of settings, metrics, reasons, routes, states, tables and rooms is what the code has."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatch
from pathlib import Path

import msgspec
import pytest
import yaml
from docs_pages import blocks_of
from docs_tables import (
    DOCS,
    PACKAGE,
    ROOT,
    SECTIONS,
    all_commands,
    columns,
    detail_codes,
    exposed_name,
    problem_codes,
    sections_of,
    write_section,
)

from geoservice.api import schemas
from geoservice.app import all_routes
from geoservice.config import PREFIX, SETTINGS
from geoservice.decisions import campaigns, compiling, conditions, schedule
from geoservice.decisions.policy import Calendar, CapRule, CapScope
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.served import Feed
from geoservice.demo.fcm_stand_in import FcmStandIn
from geoservice.demo.phones import Phones
from geoservice.geofencing.uploads import checks, features
from geoservice.push.outcomes import DeadToken
from geoservice.telemetry.metrics import REGISTRY
from geoservice.vocabulary import (
    BeaconSightings,
    EddystoneSighting,
    Fix,
    IBeaconSighting,
    Ignored,
    MessageEvent,
    MessageState,
    OsTransition,
    Purpose,
    Role,
)
from geoservice.workflows.policy import PolicyBody
from geoservice.workflows.products import ProductBody, StockBody, StockItem
from geoservice.workflows.publishing import StoreBody

PAGES = sorted(path.name for path in DOCS.glob("*.md"))
READ = [ROOT / "README.md", *(DOCS / page for page in PAGES)]


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def everything() -> str:
    return "\n".join(map(text_of, PAGES))


def quoted(text: str) -> set[str]:
    """What stands in backticks, outside of blocks."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)))


def first_cells(text: str) -> set[str]:
    """What stands in backticks in the first cell of any row."""
    return {word for line in re.findall(r"^\|([^|]*)\|", text, re.MULTILINE) for word in re.findall(r"`([^`]+)`", line)}


# Tables and diagrams that are made from the code ---------------------------------------------------------------------


@pytest.mark.parametrize(("page", "name"), SECTIONS, ids=lambda part: part)
def test_tables_and_diagrams_are_those_of_the_code(page: str, name: str) -> None:
    """Tables of settings, metrics, reasons, routes, commands, limits and both state diagrams say what the code says."""
    made = SECTIONS[page, name]()
    if os.environ.get("UPDATE_DOCS"):
        write_section(page, name, made)
    assert sections_of(page)[name] == made, "UPDATE_DOCS=1 scripts/test tests/docs writes it anew"


def test_every_marked_section_is_made_from_the_code() -> None:
    """No page has a marked table that nothing keeps true."""
    assert {(page, name) for page in PAGES for name in sections_of(page)} == set(SECTIONS)


# Links ---------------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", READ, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every link inside the repository leads to a file that is there, and to a heading that is in it."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_in_the_index() -> None:
    """Whoever opens the index finds every page."""
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", text_of("README.md")))
    assert linked == set(PAGES) - {"README.md"}


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", all_routes(steerable=False), ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_named(route) -> None:
    """Every route of the service stands in the documentation."""
    assert f"`{route.method} {route.path}`" in text_of("routes.md")


def test_no_route_is_named_that_does_not_exist() -> None:
    """Every method and path that a page names is a route of the service, or of the demo."""
    routes = (*all_routes(steerable=False), *Phones(FcmStandIn()).routes)
    known = [(route.method, re.sub(r"\{\w+\}", "*", route.path)) for route in routes]
    named = re.findall(r"`(GET|PUT|POST|PATCH|DELETE) (/[^`?\s]*)", everything())
    assert named
    for method, path in named:
        plain = re.sub(r"\{\w+\}", "x", path)
        assert any(method == verb and fnmatch(plain, pattern) for verb, pattern in known), (method, path)


@pytest.mark.parametrize("command", [name for name, _ in all_commands()])
def test_every_command_is_named(command: str) -> None:
    """Every command of geoservice stands in the documentation, and in its own words there."""
    assert f"`{command}" in text_of("README.md")


def test_no_setting_is_named_that_does_not_exist() -> None:
    """Every GEOSERVICE_ name on any page is a setting."""
    named = {name for path in READ for name in re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))}
    assert named <= {setting.name for setting in SETTINGS}


def test_metrics_in_expressions_exist() -> None:
    """Every metric that a page asks Prometheus for is one that the service gives."""
    exposed = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    exposed |= {family.name + ("_total" if family.type == "counter" else "") for family in REGISTRY.collect()}
    exposed |= {family.name + "_bucket" for family in REGISTRY.collect() if family.type == "histogram"}
    named = set(re.findall(r"\bgeoservice_\w+", re.sub(r"\[\w+\]", "", text_of("metrics.md"))))
    assert named <= exposed


def test_the_alerts_are_rules() -> None:
    """The rules that the page offers are YAML as Prometheus reads it: each has a name and an expression."""
    (block,) = (block for block in blocks_of("metrics.md") if block.language == "yaml")
    (group,) = yaml.safe_load(block.text)["groups"]
    for rule in group["rules"]:
        assert {"alert", "expr"} <= set(rule) <= {"alert", "expr", "for"}


def test_metrics_have_the_names_that_prometheus_sees() -> None:
    """The table of metrics names counters with the _total that Prometheus' text has."""
    from docs_tables import all_metrics

    families = {f.name + ("_total" if f.type == "counter" else "") for f in REGISTRY.collect()}
    assert {exposed_name(metric) for metric in all_metrics()} == families


# Fields and codes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("first-campaign.md", campaigns.CampaignSpec),
        ("first-campaign.md", campaigns.Trigger),
        ("first-campaign.md", campaigns.Content),
        ("first-campaign.md", campaigns.Limits),
        ("first-campaign.md", campaigns.Wording),
        ("first-campaign.md", schedule.Schedule),
        ("first-campaign.md", conditions.Interest),
        ("first-campaign.md", conditions.Visits),
        ("first-campaign.md", conditions.Attribute),
        ("connect-your-app.md", schemas.DeviceBody),
        ("connect-your-app.md", schemas.ConsentBody),
        ("connect-your-app.md", schemas.PreferencesBody),
        ("connect-your-app.md", schemas.EventBody),
        ("connect-your-app.md", schemas.FeedbackBody),
        ("connect-your-app.md", Fix),
        ("connect-your-app.md", BeaconSightings),
        ("connect-your-app.md", IBeaconSighting),
        ("connect-your-app.md", EddystoneSighting),
        ("connect-your-app.md", OsTransition),
        ("upload-geofences.md", StoreBody),
        ("products.md", ProductBody),
        ("products.md", schemas.CustomerBody),
        ("products.md", StockBody),
        ("products.md", StockItem),
        ("first-campaign.md", campaigns.Experiment),
        ("first-campaign.md", campaigns.Variant),
        ("limits.md", PolicyBody),
        ("limits.md", CapRule),
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_every_field_is_explained(page: str, kind: type) -> None:
    """Every field that a body may have is named on the page that tells how to write it."""
    examples = " ".join(block.text for block in blocks_of(page))
    known = quoted(text_of(page)) | set(re.findall(r'"(\w+)":', examples))
    assert {field.encode_name for field in msgspec.structs.fields(kind)} <= known


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("upload-geofences.md", features._FIELDS),
        ("upload-geofences.md", features._KINDS),
        ("first-campaign.md", Gate),
        ("first-campaign.md", campaigns.CampaignState),
        ("first-campaign.md", campaigns.TriggerOn),
        ("first-campaign.md", campaigns.Use),
        ("first-campaign.md", campaigns.Ambiguous),
        ("first-campaign.md", campaigns.InStock),
        ("products.md", Feed),
        ("first-campaign.md", schedule.Send),
        ("first-campaign.md", schedule.Weekday),
        ("first-campaign.md", schedule.AskAgain),
        ("first-campaign.md", conditions.Surely),
        ("limits.md", CapScope),
        ("limits.md", Calendar),
        ("connect-your-app.md", Purpose),
        ("connect-your-app.md", [f"ignored `{reason}" for reason in Ignored]),
        ("settings.md", Role),
        ("states.md", MessageState),
        ("states.md", MessageEvent),
        ("reasons.md", Reason),
        ("metrics.md", Ignored),
        ("metrics.md", DeadToken),
        ("metrics.md", MessageState),
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_every_word_is_explained(page: str, words) -> None:
    """Every kind, state, use, purpose, role, check and reason that the service knows is explained."""
    text = text_of(page)
    assert [word for word in map(str, words) if f"`{word}`" not in text and f"{word}`" not in text] == []


def test_every_message_state_has_its_sentence() -> None:
    """The page of states says of every state what it means."""
    assert {state.value for state in MessageState} <= first_cells(text_of("states.md"))


def test_every_problem_code_is_explained() -> None:
    """The codes that a problem document may have are those in the table, no more and no less."""
    table = text_of("errors.md").partition("## Inside")[0]
    listed = {code for row in re.findall(r"^\| \d+ \|([^|]*)\|", table, re.MULTILINE) for code in quoted(row)}
    http_codes = {"not_found", "method_not_allowed", "too_large", "bad_request", "request_timeout"}
    assert listed == problem_codes() | http_codes


def test_every_code_of_a_detail_is_explained() -> None:
    """The codes that stand in errors and in rejected items are those in the tables, no more and no less."""
    ours = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "uploads"]
    assert first_cells(text_of("errors.md").partition("## Inside")[2]) == set().union(*map(detail_codes, ours))


def test_every_code_of_an_upload_is_explained() -> None:
    """The codes that an upload of geofences may be answered with are those in the tables, no more and no less."""
    text = text_of("upload-geofences.md").partition("| code | what to do |")[2].partition("## Stores")[0]
    listed = first_cells(text)
    raised = set().union(*map(detail_codes, (PACKAGE / "geofencing" / "uploads").glob("*.py")))
    patterns = {code for code in raised if "*" in code}
    assert raised - patterns <= listed
    assert all(any(fnmatch(code, pattern) for pattern in patterns) for code in listed - raised)


def test_every_campaign_on_the_page_can_be_uploaded() -> None:
    """Whoever copies an example of a campaign has one that the service takes."""
    examples = re.findall(r"<!-- campaign -->\n```json\n(.*?)```", text_of("first-campaign.md"), re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        compiling.compile_campaign("example", 1, msgspec.json.decode(example, type=campaigns.CampaignSpec))


def test_numbers_of_limits_are_those_of_the_code() -> None:
    """The largest requests, batches and shapes that the pages name are what the service takes."""
    app, upload, campaign = map(text_of, ("connect-your-app.md", "upload-geofences.md", "first-campaign.md"))
    assert f"At most {schemas.PINGS_MAX:,} pings and {schemas.PINGS_BODY // 2**20} MiB" in app
    assert f"At most {schemas.EVENTS_MAX:,} events and {schemas.EVENTS_BODY // 2**10} KiB" in app
    assert f"at most {schemas.UPLOAD_BODY // 2**20} MiB" in upload
    assert f"above 0 up to {features.MAX_RADIUS_M:,}" in upload
    assert f"at most {checks.MAX_AREA_M2 / 1e6:,.0f} km²" in upload
    assert f"at most {features.MAX_VERTICES:,} positions" in upload
    assert f"up to {conditions.MAX_DEPTH} levels and {conditions.MAX_CONDITIONS} conditions" in campaign


# Rooms and tables of the database ------------------------------------------------------------------------------------


def test_the_map_of_rooms_is_the_package() -> None:
    """The map names every folder and file at the top of the package, and nothing else."""
    rooms = first_cells(text_of("architecture.md").partition("## Rooms")[2].partition("\n## ")[0])
    there = {path.name + ("/" if path.is_dir() else "") for path in PACKAGE.iterdir()}
    assert rooms == there - {"__init__.py", "py.typed", "__pycache__/"}


def test_everything_that_is_stored_is_named() -> None:
    """The page on privacy has a row for every table of the database, with every column of it."""
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", text_of("privacy.md"), re.MULTILINE)
    assert {table: sorted(quoted(listed)) for table, listed in rows} == {
        table: sorted(names) for table, names in columns().items()
    }

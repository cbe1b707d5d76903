"""What an attacker or a broken client writes in a body: refused in a sentence, at no cost to anybody else."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from bad_house import WITH_BODY, alive, head, named, post, raw, refused, send, shows_nothing, soon
from conftest import NOON, fix

pytestmark = pytest.mark.asyncio(loop_scope="module")

# JSON ---------------------------------------------------------------------------------------------------------------

NO_JSON = {
    "nothing": b"",
    "spaces": b"   ",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-8 of half a character": b'{"name": "\xed\xa0\xbd"}',
    "a raw NUL": b'{"name": "\x00"}',
    "two bodies": b"{}{}",
    "never closed": b'{"a":' * 5_000,
    "a comment": b"{} // nothing",
    "single quotes": b"{'a': 1}",
    "not a number": b'{"a": NaN}',
}
ODD_JSON = {
    "5,000 brackets": b"[" * 5_000 + b"]" * 5_000,
    "5,000 objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "half a character": b'{"name": "\\ud83d"}',
    "NUL, escaped": b'{"name": "\\u0000"}',
    "1e400": b'{"name": 1e400, "lat": 1e400}',
    "10**400": b'{"name": 1' + b"0" * 400 + b', "lat": 1' + b"0" * 400 + b"}",
    "null": b"null",
    "a number": b"7",
    "a list": b"[]",
    "a name twice": b'{"name": 1, "name": 2}',
    "a prototype": b'{"__proto__": {"a": 1}, "constructor": 1}',
    "a long name": b'{"' + b"a" * 100_000 + b'": 1}',
}


OWNTRACKS = "/v1/ingest/owntracks"
"""It takes an empty body, and messages of kinds that it does not know, since its app would send them for ever."""
MAY_BE_EMPTY = {OWNTRACKS, "/v1/campaigns/{id}/dry-run"}


@named(WITH_BODY)
async def test_what_is_no_json_is_a_400(shared, route):
    """A body that is no JSON is refused as such on every route."""
    for name, body in NO_JSON.items():
        if route.path in MAY_BE_EMPTY and not body.strip():
            continue
        answer = await send(shared, route, body)
        assert answer.status == 400, (name, answer.status, answer.body)
        refused(answer, 400)


@named(WITH_BODY)
async def test_odd_json_is_refused(shared, route):
    """Nested to absurdity, huge numbers, half characters: a refusal on every route, never an error of ours."""
    for name, body in ODD_JSON.items():
        answer = await send(shared, route, body)
        if route.path == OWNTRACKS and answer.status == 200:
            assert answer.body == []
            continue
        assert 400 <= answer.status < 500, (name, answer.status, answer.body)
        refused(answer, 400, 404, 422)
    await alive(shared)


@named(WITH_BODY)
async def test_another_content_type_is_refused(shared, route):
    """A body that does not call itself JSON is not read."""
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml", "application/json5", "nonsense"):
        answer = await send(shared, route, b"{}", **{"Content-Type": kind})
        if kind != "nonsense":  # what is no content type at all is read as none
            refused(answer, 415)
        assert answer.status < 500


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "nonsense", '"', "utf-8"])
async def test_a_charset_changes_nothing(shared, charset):
    """JSON is UTF-8, whatever its content type says."""
    headers = {"Content-Type": f"application/json; charset={charset}"}
    answer = await shared.call("POST", "/v1/events", b'{"events": []}', who=shared.customer("eve"), headers=headers)
    assert answer.status == 202


async def test_an_item_beyond_numbers_costs_no_other(shared):
    """Numbers that no number can hold spoil their own item only, and the answer names it."""
    who = shared.customer("eve")
    for number in (b"1e400", b"1" + b"0" * 400, b"-1e400"):
        bad = b'{"type": "carted", "occurred_at": "2026-03-04T11:00:00Z", "quantity": ' + number + b"}"
        good = b'{"type": "carted", "occurred_at": "2026-03-04T11:00:00Z"}'
        answer = await shared.call("POST", "/v1/events", b'{"events": [' + bad + b"," + good + b"]}", who=who)
        if answer.status == 202:
            assert [each["index"] for each in answer.body["rejected"]] == [0]
        else:
            refused(answer, 400)
        shows_nothing(answer)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
                                "10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"])  # fmt: skip
async def test_impossible_times_are_refused(shared, at):
    """Times at the ends of the calendar are refused by item, and elsewhere with a 422."""
    who = shared.customer("eve")
    events = await shared.call("POST", "/v1/events", {"events": [{"type": "searched", "occurred_at": at}]}, who=who)
    pings = await shared.call(
        "POST", "/v1/pings", {"device_id": "p", "pings": [fix(NOON, 1, 1) | {"recorded_at": at}]}, who=who
    )
    for answer in (events, pings):
        assert answer.status == 202
        assert answer.body["accepted"] == 0
        shows_nothing(answer)
    answer = await shared.call("PATCH", "/v1/me/preferences", {"snooze_until": at}, who=who)
    assert answer.status in {200, 422}, answer.body
    assert (await shared.call("GET", "/v1/me/preferences", who=who)).status == 200
    sent = await shared.call(
        "POST", "/v1/pings", {"device_id": "p", "sent_at": at, "pings": [fix(NOON, 1, 1)]}, who=who
    )
    counted = await shared.call("PUT", "/v1/feeds/shop", {"as_of": at}, who=shared.ops)
    stock = await shared.call("PUT", "/v1/stores/nowhere/stock", {"as_of": at, "items": []}, who=shared.ops)
    for answer in (sent, counted, stock):
        assert answer.status in {200, 202, 404, 422}, answer.body
        shows_nothing(answer)


@pytest.mark.parametrize("query", ["/v1/audit?actor=a%00", "/v1/products?after=%00", "/v1/stores/s/stock?after=a+%00"])
async def test_no_question_holds_a_nul(shared, query):
    """A NUL character in the query string is refused as in a body: no database could look for it."""
    answer = await shared.call("GET", query, who=shared.ops)
    refused(answer, 422)
    assert answer.body["code"] == "nul_character"


async def test_a_phone_of_somebody_else_stays_hers(shared):
    """Pings under the id of somebody else's phone are the sender's own: they touch nothing of hers."""
    await shared.opt_in("ada", device_id="adas")
    await shared.ping("ada", fix(NOON, 53.55, 10.0), device_id="adas")
    answer = await shared.call(
        "POST", "/v1/pings", {"device_id": "adas", "pings": [fix(NOON, 10, 10)]}, who=shared.customer("mallory")
    )
    assert answer.status == 202
    rows = await shared.sql("select newest_at from devices where customer_id = 'ada' and device_id = 'adas'")
    assert [row["newest_at"] for row in rows] == [NOON]


async def test_headers_cannot_be_injected(shared):
    """Line breaks in paths, queries and ids do not reach the headers of an answer."""
    for path in (
        "/v1/stores/a%0d%0aSet-Cookie:%20b=c",
        "/v1/transitions?after=%0d%0aSet-Cookie:%20b=c",
        "/%0d%0aX:%20y",
    ):
        answer = await raw(
            shared, head(f"GET {path}", "Authorization: " + shared.ops["Authorization"], "Connection: close")
        )
        assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 422"))


# Hostile maps -------------------------------------------------------------------------------------------------------


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"id": "f", "kind": "store", **properties}}


HOSTILE = {
    "a million vertices": feature(
        {"type": "Polygon", "coordinates": [[[n % 1_000 / 1e4, n / 1e7] for n in range(1_000_000)]]}
    ),
    "100,000 rings": feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]] * 100_000}),
    "a star that crosses itself": feature(
        {
            "type": "Polygon",
            "coordinates": [[[n * 4_001 % 9_998 / 1e4, n * 7_001 % 9_998 / 1e4] for n in range(9_998)] + [[0, 0]]],
        }
    ),
    "1e308": feature({"type": "Point", "coordinates": [1e308, -1e308]}, radius_m=100),
    "a polygon of 1e307": feature(
        {"type": "Polygon", "coordinates": [[[-1e307, 0], [1e307, 0], [1e307, 1], [-1e307, 0]]]}
    ),
    "a radius of 1e308": feature({"type": "Point", "coordinates": [10, 53]}, radius_m=1e308),
    "a number of 400 digits": feature({"type": "Point", "coordinates": [10, 10]}, radius_m=1, floor=float(10**300)),
    "a collection in itself": feature({"type": "GeometryCollection", "geometries": []}),
    "coordinates of texts": feature({"type": "Polygon", "coordinates": [[["0", "0"]] * 5]}),
    "deep metadata": feature(
        {"type": "Point", "coordinates": [10, 53]}, radius_m=100, deep=orjson.loads(b"[" * 200 + b"]" * 200)
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=list(HOSTILE))
async def test_a_hostile_map_is_refused_in_time(shared, hostile):
    """Absurd shapes are refused by feature, path and rule within seconds, and meanwhile others are answered."""
    body = {"type": "FeatureCollection", "features": [hostile]}
    upload = asyncio.create_task(post(shared, "/v1/geofences/import", body, shared.ops))
    await alive(shared, within_s=10)
    async with asyncio.timeout(60):
        answer = await upload
    refused(answer, 422)
    assert answer.body["errors"]


async def test_a_hundred_thousand_errors_are_a_short_list(shared):
    """An upload in which 100,000 features are wrong is answered within seconds, with the first of them and a count."""
    wrong = [{"type": "Feature", "geometry": None, "properties": {}}] * 100_000
    body = {"type": "FeatureCollection", "features": wrong}
    with soon(15):
        answer = await post(shared, "/v1/geofences/import", body, shared.ops)
    refused(answer, 422)
    assert len(answer.body["errors"]) <= 101
    assert answer.body["errors"][-1]["code"] == "more_not_listed"
    await alive(shared)

"""Bodies of a size or packing that nobody needs: refused in a sentence, with flat memory."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from pathlib import Path

import pytest
import pytest_asyncio
from bad_house import SMALL, alive, named, post, refused, send, soon
from conftest import NOON, Client, environment, fix, new_database, ring, running_process

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Too much -----------------------------------------------------------------------------------------------------------


@named(SMALL)
async def test_ten_megabytes_are_too_much(shared, route):
    """A body of 10 MB on a route for small things is a 413 before it was read, and others go on."""
    with soon():
        refused(await send(shared, route, b" " * 10_000_000), 413)
    await alive(shared)


@pytest.mark.parametrize(
    ("path", "name", "item"),
    [
        ("/v1/pings", "pings", fix(NOON, 53.5, 10)),
        ("/v1/events", "events", {"type": "searched", "occurred_at": NOON}),
        ("/v1/pings", "pings", {}),
        ("/v1/events", "events", 7),
    ],
)
async def test_ten_thousand_items_are_too_many(shared, path, name, item):
    """A batch of 10,000 items, good or bad ones, is refused as a whole."""
    body = {name: [item] * 10_000} | ({"device_id": "phone"} if name == "pings" else {})
    refused(await shared.call("POST", path, body, who=shared.customer("eve")), 413)


async def test_a_million_features_are_too_many(shared):
    """An upload of more features than any retailer has is refused before they are looked at."""
    body = b'{"type": "FeatureCollection", "features": [' + 1_000_000 * b"0," + b"0]}"
    with soon():
        refused(await post(shared, "/v1/geofences/import", body, shared.ops), 413)


async def test_a_large_upload_is_legal(shared):
    """20,000 geofences in one upload are taken, and meanwhile others are answered."""
    await shared.ok(
        "PUT", "/v1/stores/grid", {"name": "Grid", "lat": 53.5, "lon": 10, "timezone": "UTC"}, who=shared.ops
    )
    features = []
    for n in range(20_000):
        feature = ring("grid", 53 + n // 200 * 0.005, 9.5 + n % 200 * 0.005, 50)
        feature["properties"] |= {"id": f"grid-{n}", "store_id": None}
        features.append(feature)
    body = {"type": "FeatureCollection", "features": features}
    upload = asyncio.create_task(post(shared, "/v1/geofences/import", body, shared.ops))
    while not upload.done():
        await alive(shared)
        await asyncio.sleep(0.1)
    answer = await upload
    assert (answer.status, answer.body["created"]) == (200, 20_000)


# Packed -------------------------------------------------------------------------------------------------------------

EMPTY = b'{"events": []}'
BADLY_PACKED = {
    "gzip of garbage": ("gzip", b"garbage" * 10, 400),
    "gzip cut off": ("gzip", gzip.compress(os.urandom(2_000))[:500], 400),
    "gzip of nothing": ("gzip", b"", 400),
    "deflate of garbage": ("deflate", b"\xff" * 50, 400),
    "brotli": ("br", b"garbage", 415),
    "zstandard": ("zstd", b"garbage", 415),
    "a packing that does not exist": ("foo", EMPTY, 415),
    "packed twice": ("gzip, gzip", gzip.compress(gzip.compress(EMPTY)), 415),
}


@pytest.mark.parametrize(("encoding", "body", "status"), BADLY_PACKED.values(), ids=list(BADLY_PACKED))
async def test_a_badly_packed_body_is_refused(shared, encoding, body, status):
    """What cannot be unpacked is refused, and the service goes on."""
    who = shared.customer("eve")
    refused(await shared.call("POST", "/v1/events", body, who=who, headers={"Content-Encoding": encoding}), status)
    await alive(shared)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_a_packed_body_is_taken(shared, encoding):
    """Gzip and deflate are unpacked."""
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding]
    who = shared.customer("eve")
    answer = await shared.call("POST", "/v1/events", pack(EMPTY), who=who, headers={"Content-Encoding": encoding})
    assert answer.status == 202


@pytest_asyncio.fixture(loop_scope="module")
async def process(postgres, tmp_path):
    """The service as a process of its own."""
    async with (
        new_database(postgres) as url,
        running_process(environment(url, None, tmp_path), tmp_path / "log") as client,
    ):
        yield client


def memory_mb(client: Client) -> float:
    status = Path(f"/proc/{client.app._process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def bomb() -> bytes:
    """A megabyte that unpacks to a gigabyte of spaces."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * 2**24
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * 63  # after a full flush what follows may be repeated as it is


async def test_a_bomb_does_not_go_off(process):
    """A megabyte that unpacks to a gigabyte is a 413; the service's memory stays where it was."""
    packed = bomb()
    assert len(packed) < 1_100_000
    await alive(process)
    before = memory_mb(process)
    for path, who in (
        ("/v1/events", process.customer("eve")),
        ("/v1/pings", process.customer("eve")),
        ("/v1/stores/a", process.ops),
    ):
        headers = {"Content-Encoding": "gzip"}
        method = "PUT" if "stores" in path else "POST"
        refused(await post(process, path, packed, who, method, **headers), 413)
        await alive(process)
    assert memory_mb(process) - before < 150
    await alive(process)

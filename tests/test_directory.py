"""What every process holds in memory follows the database."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from conftest import CAMPAIGN, NOON

from geoservice.clock import SystemClock
from geoservice.decisions.campaigns import CampaignSpec, CampaignState
from geoservice.decisions.facts import RetailerDefaults
from geoservice.storage.database import Database, open_pool
from geoservice.workflows.directory import Directory
from geoservice.workflows.publishing import save_campaign, set_campaign_state

SPEC = msgspec.convert(CAMPAIGN, CampaignSpec)


@pytest.fixture
async def database(database_url):
    pool = await open_pool(database_url, size=2)
    yield Database(pool, database_url)
    await pool.close()


@pytest.fixture
async def directory(database):
    """One that has loaded two campaigns."""
    for campaign_id in ("shoes", "tents"):
        await save_campaign(database, campaign_id, SPEC, NOON)
    directory = Directory(database, RetailerDefaults(), SystemClock())
    await directory.reload()
    return directory


async def test_only_the_campaign_that_changed_is_made_anew(database, directory):
    """An edit of one campaign is taken up at once, and costs nothing for all the others."""
    before = directory.snapshot.campaigns
    await set_campaign_state(database, "shoes", CampaignState.PAUSED, NOON + timedelta(hours=1))
    await directory.reload()
    after = directory.snapshot.campaigns
    assert (after["shoes"].version, after["shoes"].spec.state) == (2, CampaignState.PAUSED)
    assert after["tents"] is before["tents"]
    await set_campaign_state(database, "shoes", CampaignState.LIVE, NOON + timedelta(hours=2))
    await directory.reload()
    assert directory.snapshot.campaigns["shoes"].live_since == NOON + timedelta(hours=2)


async def test_a_change_that_is_no_new_version_is_taken_up_too(database, directory):
    """A test customer who is erased is taken out of the campaigns without a new version, and so out of the memory."""
    spec = msgspec.structs.replace(SPEC, test_customers=("ada", "ben"))
    await save_campaign(database, "shoes", spec, NOON)
    await directory.reload()
    assert directory.snapshot.campaigns["shoes"].spec.test_customers == ("ada", "ben")
    async with database.transaction() as connection:
        assert await connection.fetchval("select forget_tester('ada', $1)", NOON)
    await directory.reload()
    assert directory.snapshot.campaigns["shoes"].spec.test_customers == ("ben",)


async def test_a_campaign_of_another_release_is_silent_until_it_can_be_read(database, directory):
    """What this release does not understand is left out, alone; mended, it is there again."""
    other = '{"name": "from the future", "mood": "sunny"}'
    await rewrite(database, "shoes", other)
    await directory.reload()
    assert directory.snapshot.campaigns.keys() == {"tents"}
    await save_campaign(database, "shoes", SPEC, NOON)
    await directory.reload()
    assert directory.snapshot.campaigns.keys() == {"shoes", "tents"}


async def rewrite(database: Database, campaign_id: str, body: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            "update campaigns set body = $1::text::jsonb where campaign_id = $2", body, campaign_id
        )
        await connection.execute("update directory_revisions set revision = revision + 1 where room = 'campaigns'")

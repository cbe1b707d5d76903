"""A campaign that cannot work is refused when it is uploaded, and every problem points into the body."""

from __future__ import annotations

import msgspec
import pytest

from geoservice.decisions.campaigns import CampaignSpec
from geoservice.decisions.compiling import compile_campaign
from geoservice.errors import Invalid

SHOES = {"category": "running-shoes"}


def nested(depth):
    condition = {"interest": SHOES}
    for _ in range(depth):
        condition = {"not": condition}
    return condition


TEXT = {"content": {"title": "Hello", "body": "We are open."}}
TOLD = {**TEXT, "uses": ["profile"]}
NOT_SO = "context.not.attribute"
UNDECLARED, BAD_NAME, DELICATE = "undeclared_use", "template_variable", "sensitive"

BAD = [
    # An empty title, or one of blanks, says nothing.
    ({"content": {"title": " "}}, "content.title", "empty"),
    ({"name": ""}, "name", "empty"),
    ({"content": {"body": "x" * 1_001}}, "content.body", "too_long"),
    # Templates: broken syntax, loops, unknown variables and filters.
    ({"content": {"title": "{{ store.name"}}, "content.title", "template_syntax"),
    ({"content": {"body": "{% for a in b %}{% endfor %}"}}, "content.body", "template_syntax"),
    ({"content": {"body": "{% assign a = 1 %}"}}, "content.body", "template_syntax"),
    ({"content": {"body": "{% include 'x' %}"}}, "content.body", "template_syntax"),
    ({"content": {"title": "{{ customer.name }}"}}, "content.title", "template_variable"),
    ({"content": {"title": "{{ store[interest.category] }}"}}, "content.title", "template_variable"),
    ({"content": {"title": "{% if debts %}x{% endif %}"}}, "content.title", "template_variable"),
    ({"content": {"title": "{{ store.name | date: '%Y' }}"}}, "content.title", "template_filter"),
    ({"content": {"data": {"a": "{{ oops }}"}}}, "content.data.a", "template_variable"),
    # A text about an interest, in a campaign that looks at none.
    ({"context": {}}, "content.title", "template_variable"),
    ({"context": {"not": {"interest": SHOES}}}, "content.title", "template_variable"),
    # Links that would run code, go anywhere, or travel in the open.
    ({"content": {"deep_link": "javascript:alert(1)"}}, "content.deep_link", "url"),
    ({"content": {"deep_link": "{{ store.name }}"}}, "content.deep_link", "url"),
    ({"content": {"deep_link": "https://{{ store.name }}/x"}}, "content.deep_link", "url"),
    ({"content": {"deep_link": "/relative"}}, "content.deep_link", "url"),
    ({"content": {"image_url": "http://cdn.example/x.png"}}, "content.image_url", "url"),
    ({"content": {"image_url": "shop://x"}}, "content.image_url", "url"),
    # Pictures in inner networks: phones would knock there.
    ({"content": {"image_url": "https://10.0.0.7/x.png"}}, "content.image_url", "url"),
    ({"content": {"image_url": "https://[::1]/x.png"}}, "content.image_url", "url"),
    ({"content": {"image_url": "https://169.254.169.254/latest"}}, "content.image_url", "url"),
    ({"content": {"image_url": "https://localhost/x.png"}}, "content.image_url", "url"),
    ({"content": {"image_url": "https://images.internal/x.png"}}, "content.image_url", "url"),
    ({"content": {"image_url": "https://intranet/x.png"}}, "content.image_url", "url"),
    ({"content": {"image_url": "https://2130706433/x.png"}}, "content.image_url", "url"),
    ({"content": {"image_url": "https://0x7f.1/x.png"}}, "content.image_url", "url"),
    ({"content": {"image_url": "https://user@shop.example/x.png"}}, "content.image_url", "url"),
    # Other languages are checked like the first one.
    ({"content": {"languages": {"german": {"title": "Hallo", "body": "x"}}}}, "content.languages.german", "language"),
    ({"content": {"languages": {"de": {"title": " ", "body": "x"}}}}, "content.languages.de.title", "empty"),
    ({"content": {"languages": {"de": {"title": "{{ x }}", "body": "x"}}}}, "content.languages.de.title", BAD_NAME),
    # Texts that multiply themselves, loop, or could never be written.
    ({"content": {"body": "{% for i in (1..9999999) %}x{% endfor %}"}}, "content.body", "template_syntax"),
    ({"content": {"body": "{{ 'x' | times: 99999999 }}"}}, "content.body", "template_filter"),
    ({"content": {"body": "{{ 'a,b' | split: ',' | join: 'x' }}"}}, "content.body", "template_filter"),
    ({"content": {"body": "{% capture x %}y{% endcapture %}"}}, "content.body", "template_syntax"),
    ({"content": {"body": "{% if 1 %}" * 9 + "x" + "{% endif %}" * 9}}, "content.body", "template_syntax"),
    ({"content": {"body": "{{ store.name | truncate: 'many' }}"}}, "content.body", "template_syntax"),
    ({"content": {"data": {"message_id": "x"}}}, "content.data.message_id", "reserved"),
    ({"content": {"data": {"google.x": "x"}}}, "content.data.google.x", "reserved"),
    # Data is declared before it is used.
    ({"uses": []}, "context.interest.events[0]", "undeclared_use"),
    (
        {"context": {"interest": {**SHOES, "events": ["product_viewed", "purchased"]}}},
        "context.interest.events[1]",
        "undeclared_use",
    ),
    ({"uses": ["browse", "telepathy"]}, "uses[1]", "unknown"),
    # How often she comes, what the shop knows and her tier are data, too.
    ({"context": {"visits": {"min_count": 2}}, **TEXT}, "context.visits", "undeclared_use"),
    ({"context": {"all": [{"attribute": {"name": "a", "equals": 1}}]}, **TEXT}, "context.all[0].attribute", UNDECLARED),
    ({"context": {"not": {"loyalty_tier": ["gold"]}}, **TEXT}, "context.not.loyalty_tier", "undeclared_use"),
    # What only she may say is not taken from what the shop noted of her, whatever it is called.
    ({"context": {"attribute": {"name": "isPregnant", "equals": True}}, **TOLD}, "context.attribute.name", DELICATE),
    ({"context": {"not": {"attribute": {"name": "debt_score", "at_least": 1}}}, **TOLD}, f"{NOT_SO}.name", DELICATE),
    (
        {"context": {"attribute": {"name": "segment", "equals": "diabetes"}}, **TOLD},
        "context.attribute.equals",
        DELICATE,
    ),
    (
        {"context": {"attribute": {"name": "segment", "any_of": ["runners", "new faith"]}}, **TOLD},
        "context.attribute.any_of[1]",
        "sensitive",
    ),
    ({"context": {"attribute": {"name": "netWorth", "at_least": 1}}, **TOLD}, "context.attribute.name", DELICATE),
    (
        {"context": {"attribute": {"name": "segment", "equals": "low credit-score"}}, **TOLD},
        "context.attribute.equals",
        DELICATE,
    ),
    # A condition that says nothing, or that nothing can meet.
    ({"context": {"visits": {}}, "uses": ["visits"], **TEXT}, "context.visits", "empty"),
    (
        {"context": {"visits": {"min_count": 3, "max_count": 2}}, "uses": ["visits"], **TEXT},
        "context.visits.max_count",
        "order",
    ),
    ({"context": {"attribute": {"name": "a"}}, "uses": ["profile"], **TEXT}, "context.attribute", "empty"),
    ({"context": {"loyalty_tier": []}, "uses": ["loyalty"], **TEXT}, "context.loyalty_tier", "invalid"),
    ({"context": {"loyalty_tier": ["gold", 3]}, "uses": ["loyalty"], **TEXT}, "context.loyalty_tier[1]", "invalid"),
    ({"context": {"interest": {**SHOES, "provenance": "sure"}}}, "context.interest.provenance", "invalid"),
    # Conditions: the place of the mistake is named, however deep.
    (
        {"context": {"all": [{"interest": SHOES}, {"interest": {**SHOES, "within_days": 0}}]}},
        "context.all[1].interest.within_days",
        "invalid",
    ),
    ({"context": {"interest": {"categry": "x"}}}, "context.interest", "invalid"),
    ({"context": {"interest": {**SHOES, "events": ["stared"]}}}, "context.interest.events[0]", "invalid"),
    ({"context": {"some": []}}, "context", "condition"),
    ({"context": {"any": [{"interest": SHOES}, {}]}}, "context.any[1]", "condition"),
    ({"context": {"any": []}}, "context.any", "type"),
    ({"context": {"not": 3}}, "context.not", "type"),
    ({"context": nested(5)}, "context.not.not.not.not.not", "too_deep"),
    ({"context": {"all": [{"interest": SHOES}] * 60}}, "context.all[49]", "too_many"),
    # A schedule that contradicts itself, or reads what was not declared.
    ({"schedule": {"send": "days_later"}}, "schedule.days", "days"),
    ({"schedule": {"days": 3}}, "schedule.days", "days"),
    ({"schedule": {"send": "days_later", "days": 7}, "trigger": {"after_s": 60}}, "trigger.after_s", "two_waits"),
    ({"schedule": {"send": "later_today"}, "uses": []}, "schedule.send", "undeclared_use"),
    ({"schedule": {"ask_again": ["store"]}, "trigger": {"after_s": 0}}, "schedule.ask_again", "no_wait"),
    # A brake that brakes nothing, a test for nobody.
    ({"limits": {"ramp_up_h": 24}}, "limits.ramp_up_h", "needs_ceiling"),
    ({"state": "test"}, "test_customers", "empty"),
    # Nobody who only crossed is there any more, and nothing starts in a sensitive place.
    ({"trigger": {"on": "crossed", "after_s": 60}}, "trigger.after_s", "not_supported"),
    ({"trigger": {"geofence_kind": "sensitive"}}, "trigger.geofence_kind", "sensitive"),
    ({"valid_from": "2025-11-02T00:00:00Z", "valid_until": "2025-11-01T00:00:00Z"}, "valid_until", "order"),
]


@pytest.mark.parametrize(("changes", "path", "code"), BAD)
def test_a_bad_campaign_says_where_and_which_rule(build, changes, path, code):
    """The refusal names the place in the body and the rule that it breaks."""
    with pytest.raises(Invalid) as refused:
        build.campaign(**changes)
    assert (path, code) in {(detail.path, detail.code) for detail in refused.value.details}


def test_all_problems_come_at_once(build):
    """Nobody has to upload five times to learn of five mistakes."""
    with pytest.raises(Invalid) as refused:
        build.campaign(
            name="",
            uses=["x"],
            content={"title": "", "body": "{{ oops }} {{ store.name | zip }}", "deep_link": "file:///x"},
            context={"all": [{"interest": {}}, {"nope": 1}]},
        )
    assert sorted(detail.path for detail in refused.value.details) == [
        "content.body",
        "content.body",
        "content.deep_link",
        "content.title",
        "context.all[0].interest",
        "context.all[1]",
        "name",
        "uses[0]",
    ]


GOOD = [
    # The smallest campaign.
    {"context": {}, "uses": [], "content": {"title": "Hello", "body": "We are open."}},
    # Saying so when there is nothing to wait for.
    {"schedule": {"send": "now"}},
    # Choosing words by a fact.
    {"content": {"body": "{% if interest.days_ago == 0 %}Today{% else %}Earlier{% endif %}."}},
    # Links with facts in their path, and the app's own scheme.
    {"content": {"deep_link": "https://shop.example/s?c={{ interest.category | url_encode }}"}},
    {"content": {"image_url": "https://cdn.example/x.png"}},
    # Purchases, declared.
    {"uses": ["browse", "purchase"], "context": {"interest": {**SHOES, "events": ["purchased"]}}},
    # Leaving out who bought meanwhile reads purchases only to stay silent, so it needs no declaration.
    {"context": {"interest": {**SHOES, "not_purchased": True}}},
    {
        "context": {"not": {"any": [{"interest": SHOES}, {"all": [{"interest": SHOES}]}]}},
        "content": {"title": "Hello", "body": "We are open."},
    },
]


@pytest.mark.parametrize("changes", GOOD)
def test_a_good_campaign_is_taken(build, changes):
    """What the handbook shows works."""
    assert build.campaign(**changes).version == 1


def test_unknown_fields_are_refused(build):
    """A misspelt field is an error, not a silent nothing."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**build.body(), "limit": {}}, CampaignSpec)


def test_what_is_stored_can_be_read_again(build):
    """A campaign that was accepted compiles again from its stored JSON."""
    spec = build.spec(limits={"cooldown_s": 60}, valid_until="2025-12-01T00:00:00+01:00")
    again = msgspec.json.decode(msgspec.json.encode(spec), type=CampaignSpec)
    assert compile_campaign("shoes", 1, again) == compile_campaign("shoes", 1, spec)


def test_windows_tell_how_far_back_to_look(build):
    """Events are loaded for twice the longest interest, so that a purchase between two looks is seen."""
    condition = {"any": [{"interest": {**SHOES, "within_days": 30}}, {"interest": SHOES}]}
    assert build.campaign(context=condition).event_window_s == 60 * 86_400
    content = {"title": "Hello", "body": "We are open."}
    assert build.campaign(context={}, content=content).event_window_s == 0

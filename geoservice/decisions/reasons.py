"""Every reason for silence, in one table: which check refused, and how to say so to ops and to the customer.

A reason's value is its code: it stands in decision records, is the label of the metric and never changes its
meaning. Gates run in the order of ``Gate``; the first refusal in that order is a decision's reason.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct


class Gate(StrEnum):
    """The checks, in the order in which they count."""

    CAMPAIGN = "campaign"
    CONSENT = "consent"
    PREFERENCES = "preferences"
    SENSITIVE = "sensitive"
    CONTEXT = "context"
    ALREADY_SERVED = "already_served"
    STORE = "store"
    MOMENT = "moment"
    QUIET_HOURS = "quiet_hours"
    LIMITS = "limits"
    RENDER = "render"
    CHOICE = "choice"


class Reason(StrEnum):
    """Why nothing was said."""

    CAMPAIGN_NOT_LIVE = "campaign_not_live"
    NOT_A_TEST_CUSTOMER = "not_a_test_customer"
    CAMPAIGN_CHANGED = "campaign_changed"
    GEOFENCE_GONE = "geofence_gone"
    CAMPAIGN_NOT_VALID_NOW = "campaign_not_valid_now"
    NOT_ON_THIS_DAY = "not_on_this_day"
    CAMPAIGN_CEILING = "campaign_ceiling"
    NO_LOCATION_CONSENT = "no_location_consent"
    OS_LOCATION_DENIED = "os_location_denied"
    NO_PUSH_CONSENT = "no_push_consent"
    NO_PERSONALISATION_CONSENT = "no_personalisation_consent"
    PRIVACY_SIGNAL = "privacy_signal"
    AGE_UNDER_16 = "age_under_16"
    TOPIC_OFF = "topic_off"
    CHANNEL_OFF = "channel_off"
    NO_PUSH_ADDRESS = "no_push_address"
    SNOOZED = "snoozed"
    COMFORT_LEVEL = "comfort_level"
    SENSITIVE_CATEGORY = "sensitive_category"
    CONTEXT_NOT_MET = "context_not_met"
    ALREADY_PURCHASED = "already_purchased"
    SUBSTITUTE_PURCHASED = "substitute_purchased"
    SAME_PRODUCT = "same_product"
    FEED_STALE = "feed_stale"
    STORE_MUTED = "store_muted"
    STORE_CLOSED = "store_closed"
    STORE_CLOSING = "store_closing"
    OUT_OF_STOCK = "out_of_stock"
    TRANSITION_LATE = "transition_late"
    INITIAL_PRESENCE = "initial_presence"
    DRIVING = "driving"
    VISIT_ALREADY_SERVED = "visit_already_served"
    WAITING_FOR_DELAY = "waiting_for_delay"
    NO_LATER_HOUR = "no_later_hour"
    DEFERRED_TOO_LATE = "deferred_too_late"
    LEFT_MEANWHILE = "left_meanwhile"
    QUIET_HOURS_CUSTOMER = "quiet_hours_customer"
    QUIET_HOURS_RETAILER = "quiet_hours_retailer"
    DAILY_CAP = "daily_cap"
    DAILY_CAP_ROLLING = "daily_cap_rolling"
    MIN_GAP = "min_gap"
    CAMPAIGN_COOLDOWN = "campaign_cooldown"
    PER_CUSTOMER_LIMIT = "per_customer_limit"
    CAP_RULE = "cap_rule"
    ATTENTION_BUDGET = "attention_budget"
    CONTENT_FAILED = "content_failed"
    CONTENT_TOO_LONG = "content_too_long"
    LOCK_SCREEN = "lock_screen"
    OUTRANKED = "outranked"
    HELD_OUT = "held_out"
    INTERNAL_ERROR = "internal_error"


class ReasonText(Struct, frozen=True):
    """A reason in words: a sentence for ops, one for the customer, and a line for the handbook."""

    gate: Gate
    ops: str
    customer: str
    docs: str


REASONS: Final[dict[Reason, ReasonText]] = {
    Reason.CAMPAIGN_NOT_LIVE: ReasonText(
        Gate.CAMPAIGN,
        "The campaign is paused, or was withdrawn while the message waited.",
        "This message is not being sent to anyone at the moment.",
        "Resume it to go on; to leave no more records, put it away as a `draft`.",
    ),
    Reason.NOT_A_TEST_CUSTOMER: ReasonText(
        Gate.CAMPAIGN,
        "The campaign went back into test while the message waited, and the customer is not one of its test customers.",
        "This message is not being sent to anyone at the moment.",
        "In state `test` only the `test_customers` get messages; about all others nothing is even recorded.",
    ),
    Reason.CAMPAIGN_CHANGED: ReasonText(
        Gate.CAMPAIGN,
        "The campaign's trigger was changed while the message waited, and does not fit any more.",
        "This message is not being sent any more.",
        "A message that waits is decided with the campaign as it is when it is due.",
    ),
    Reason.GEOFENCE_GONE: ReasonText(
        Gate.CAMPAIGN,
        "The geofence was removed, or its validity ended, while the message waited.",
        "This message is not being sent any more.",
        "A message that waits is only about a geofence that is in force when it is due.",
    ),
    Reason.CAMPAIGN_NOT_VALID_NOW: ReasonText(
        Gate.CAMPAIGN,
        "The campaign's validity has not begun or is over.",
        "This offer was not valid at that time.",
        "`valid_from` is included, `valid_until` is not; a message that waits must be due before it.",
    ),
    Reason.NOT_ON_THIS_DAY: ReasonText(
        Gate.CAMPAIGN,
        "The campaign does not speak on this day.",
        "This message is not sent on that day.",
        "The schedule's `weekdays` and `dates` are her local days; a message that waits counts when it is due.",
    ),
    Reason.CAMPAIGN_CEILING: ReasonText(
        Gate.CAMPAIGN,
        "The campaign has sent as many messages in this clock hour as its ceiling allows.",
        "This message was not sent to more people at that time.",
        "`hourly_ceiling` counts what was reserved for all customers together; with `ramp_up_h` it grows to that.",
    ),
    Reason.NO_LOCATION_CONSENT: ReasonText(
        Gate.CONSENT,
        "The customer has not allowed the use of location.",
        "You have not allowed us to use your location.",
        "Every trigger by place needs consent for the purpose `location`.",
    ),
    Reason.OS_LOCATION_DENIED: ReasonText(
        Gate.CONSENT,
        "The phone reports that location is denied for the app.",
        "Your phone does not allow the app to use your location.",
        "An OS permission `denied` blocks whatever the consent says; `unknown` passes.",
    ),
    Reason.NO_PUSH_CONSENT: ReasonText(
        Gate.CONSENT,
        "The customer has not allowed marketing pushes.",
        "You have not allowed us to send you offers.",
        "Every push needs consent for the purpose `marketing_push`.",
    ),
    Reason.NO_PERSONALISATION_CONSENT: ReasonText(
        Gate.CONSENT,
        "The campaign uses personal data and the customer has not allowed personalisation.",
        "You have not allowed us to use what you looked at or bought.",
        "Every use but `beacon` needs consent for the purpose `personalisation`.",
    ),
    Reason.PRIVACY_SIGNAL: ReasonText(
        Gate.CONSENT,
        "The customer's browser or her settings send the global privacy signal.",
        "Your privacy signal tells us not to personalise, so we do not.",
        "`Sec-GPC: 1` or `privacy_signal` turns off every campaign that uses browsing, purchases or loyalty.",
    ),
    Reason.AGE_UNDER_16: ReasonText(
        Gate.CONSENT,
        "By the year of birth the customer may be under 16.",
        "We send no offers to people under 16.",
        "The year must prove 16 years, so someone who turns 16 this year still counts as under 16. "
        "An unknown year passes and is recorded.",
    ),
    Reason.TOPIC_OFF: ReasonText(
        Gate.PREFERENCES,
        "The customer has not switched on this topic.",
        "You have not switched on this topic.",
        "A topic without a preference is off.",
    ),
    Reason.CHANNEL_OFF: ReasonText(
        Gate.PREFERENCES,
        "The customer has switched off the channel of this campaign's messages.",
        "You have switched off the way in which this message would have come.",
        "The channel `push` is on until the customer switches it off, `inbox` is off until she switches it on.",
    ),
    Reason.NO_PUSH_ADDRESS: ReasonText(
        Gate.PREFERENCES,
        "None of the customer's devices has a push token or installation id.",
        "Your phone is not set up to receive our messages.",
        "The app registers the address with `PUT /v1/devices/{device_id}`; without one no cap slot is taken.",
    ),
    Reason.SNOOZED: ReasonText(
        Gate.PREFERENCES,
        "The customer has snoozed all messages.",
        "You have snoozed our messages.",
        "Nothing is sent before `snooze_until`.",
    ),
    Reason.COMFORT_LEVEL: ReasonText(
        Gate.PREFERENCES,
        "The campaign uses more data than the customer's comfort level allows.",
        "You asked us to be less personal than this message would be.",
        "Level 1 allows `loyalty` and `beacon`; level 2 also `browse`, `visits`, `profile`; level 3 also `purchase`.",
    ),
    Reason.SENSITIVE_CATEGORY: ReasonText(
        Gate.SENSITIVE,
        "The campaign draws on behaviour in a sensitive category, which the customer has not declared.",
        "We do not use what you looked at in sensitive categories.",
        "Health, pregnancy, faith, debt and the like never drive a message unless declared as an interest.",
    ),
    Reason.CONTEXT_NOT_MET: ReasonText(
        Gate.CONTEXT,
        "The customer's recent doings do not meet the campaign's condition.",
        "Nothing you did lately made this message relevant.",
        "The campaign's `context` must hold on events inside its windows.",
    ),
    Reason.ALREADY_PURCHASED: ReasonText(
        Gate.ALREADY_SERVED,
        "The customer bought in this category after showing the interest.",
        "You have already bought something like this.",
        "A purchase at or after the first look ends an interest, unless it says `not_purchased: false`.",
    ),
    Reason.SUBSTITUTE_PURCHASED: ReasonText(
        Gate.ALREADY_SERVED,
        "The customer bought a substitute for what she had looked at.",
        "You have already bought something that does as well.",
        "Substitutes are those that either product names; a purchase counts wherever it was made.",
    ),
    Reason.SAME_PRODUCT: ReasonText(
        Gate.ALREADY_SERVED,
        "The customer was told of this very product a short while ago.",
        "We have told you about this product already.",
        "No product comes twice within `same_product_s`; a campaign that sets its own `cooldown_s` may repeat itself.",
    ),
    Reason.FEED_STALE: ReasonText(
        Gate.ALREADY_SERVED,
        "The till, the web shop or the stock has not been heard of for too long.",
        "We could not be sure that this was still news to you.",
        "A feed that was connected and then not heard for `feed_silent_s` silences the campaigns that rely on it.",
    ),
    Reason.STORE_MUTED: ReasonText(
        Gate.STORE,
        "The store has asked for silence today.",
        "The store sent no messages on that day.",
        "`POST /v1/stores/{id}/mute` holds until the store's local midnight, or until it is taken back.",
    ),
    Reason.STORE_CLOSED: ReasonText(
        Gate.STORE,
        "The store is closed.",
        "The store was closed.",
        "Judged by the store's opening hours in its time zone; no hours on record passes and says so.",
    ),
    Reason.STORE_CLOSING: ReasonText(
        Gate.STORE,
        "The store closes within 15 minutes.",
        "The store was about to close.",
        "The store must stay open for more than 15 minutes.",
    ),
    Reason.OUT_OF_STOCK: ReasonText(
        Gate.STORE,
        "The product, or the customer's size of it, is not in stock at this store, or not known to be.",
        "The store did not have it for you.",
        "Only with `in_stock`; a product, a size or a stock that is not on record counts as none.",
    ),
    Reason.TRANSITION_LATE: ReasonText(
        Gate.MOMENT,
        "The phone reported the moment too late to act on.",
        "The moment had passed before we heard of it.",
        "A transition marked `late` sends nothing, nor one decided more than 10 minutes after its moment "
        "(2 hours after an exit).",
    ),
    Reason.INITIAL_PRESENCE: ReasonText(
        Gate.MOMENT,
        "The phone was already inside when it was first seen; nobody arrived.",
        "You were already there when we first saw your phone.",
        "Transitions marked `initial` send nothing.",
    ),
    Reason.DRIVING: ReasonText(
        Gate.MOMENT,
        "The phone moved faster than 7 m/s in the last 180 s.",
        "You seemed to be driving.",
        "More than 7 m/s at the transition or within 180 s before it counts as driving.",
    ),
    Reason.VISIT_ALREADY_SERVED: ReasonText(
        Gate.MOMENT,
        "This visit already has its message.",
        "You already got a message on this visit.",
        "One message per customer and visit across campaigns, unless `per_visit` says otherwise.",
    ),
    Reason.WAITING_FOR_DELAY: ReasonText(
        Gate.MOMENT,
        "The campaign waits for its delay; all checks run again then.",
        "We are waiting for a better moment.",
        "`after_s` or the schedule names a later moment, or 3 minutes in a store: the decision is `defer`.",
    ),
    Reason.NO_LATER_HOUR: ReasonText(
        Gate.MOMENT,
        "The day has no hour left in which the customer is usually active.",
        "It was too late in the day.",
        "`later_today` takes the usual hour among those left that are not quiet; 18:00 while her habits are unknown.",
    ),
    Reason.DEFERRED_TOO_LATE: ReasonText(
        Gate.MOMENT,
        "The message was due too long ago: it has expired.",
        "The right moment for it had passed.",
        "From 10 minutes after it was due, or 2 hours when it is not about being there: downtime makes no burst.",
    ),
    Reason.LEFT_MEANWHILE: ReasonText(
        Gate.MOMENT,
        "The customer had left when the message was due, or when her phone told that she came.",
        "You had left before the message was due.",
        "A message about coming in needs her to be there still; one after an exit, later today or days later does not.",
    ),
    Reason.QUIET_HOURS_CUSTOMER: ReasonText(
        Gate.QUIET_HOURS,
        "It is within the customer's own quiet hours.",
        "It was within your quiet hours.",
        "Half-open [start, end) in the customer's time zone. What was meant for another day waits until they end.",
    ),
    Reason.QUIET_HOURS_RETAILER: ReasonText(
        Gate.QUIET_HOURS,
        "It is within the retailer's quiet hours.",
        "We send nothing at this time of day.",
        "Half-open [start, end) in the customer's time zone; they hold besides the customer's own, and like them.",
    ),
    Reason.DAILY_CAP: ReasonText(
        Gate.LIMITS,
        "The customer has had as many messages today as the cap allows.",
        "You have had as many messages as your daily limit allows.",
        "The stricter of the customer's and the retailer's cap, per local calendar day; 0 means never.",
    ),
    Reason.DAILY_CAP_ROLLING: ReasonText(
        Gate.LIMITS,
        "The customer has had as many messages in the last 24 hours as the cap allows.",
        "You have had as many messages in the last 24 hours as your daily limit allows.",
        "The daily cap also holds for any rolling 24 hours.",
    ),
    Reason.MIN_GAP: ReasonText(
        Gate.LIMITS,
        "The last message was too recent.",
        "You have had a message a short while ago.",
        "The minimum gap counts from the last message of any campaign; one under way counts as now.",
    ),
    Reason.CAMPAIGN_COOLDOWN: ReasonText(
        Gate.LIMITS,
        "The customer had this campaign's message within its cooldown.",
        "You have had this message already.",
        "The cooldown counts per campaign, at whichever geofence.",
    ),
    Reason.PER_CUSTOMER_LIMIT: ReasonText(
        Gate.LIMITS,
        "The customer has had this campaign's message as often as it may be sent to one person.",
        "You have had this message as often as we send it.",
        "`per_customer` counts over the campaign's life, at most a year.",
    ),
    Reason.CAP_RULE: ReasonText(
        Gate.LIMITS,
        "One of the retailer's cap rules leaves nothing.",
        "You have had as many messages of this kind as we send.",
        "The rules of `PUT /v1/policy`, by topic, campaign, store or product; the record names the rule and its count.",
    ),
    Reason.ATTENTION_BUDGET: ReasonText(
        Gate.LIMITS,
        "The customer's attention budget is spent.",
        "We write to you less often, because you seldom respond.",
        "`GET /v1/me/attention` shows the arithmetic: three misses are a step down, a response is a step up.",
    ),
    Reason.CONTENT_FAILED: ReasonText(
        Gate.RENDER,
        "The message cannot be written: a fact that it names is missing, or a text came out empty.",
        "We could not write this message properly.",
        "A template that reads a variable without a value sends nothing rather than a sentence with a hole.",
    ),
    Reason.CONTENT_TOO_LONG: ReasonText(
        Gate.RENDER,
        "The written message is larger than the push provider takes.",
        "We could not write this message properly.",
        "The provider takes 4,096 bytes for the whole message.",
    ),
    Reason.LOCK_SCREEN: ReasonText(
        Gate.RENDER,
        "The written message says something delicate that anybody could read on a lock screen.",
        "We do not write such things where others can read them.",
        "Title and body hold no word and no category of health, faith, debt and the like, declared or not.",
    ),
    Reason.OUTRANKED: ReasonText(
        Gate.CHOICE,
        "Another campaign won this moment.",
        "Another message was more relevant.",
        "Highest priority wins, then the strongest and freshest evidence, then the campaign id.",
    ),
    Reason.HELD_OUT: ReasonText(
        Gate.CHOICE,
        "The customer is in the group that does not get this campaign, to see what it changes.",
        "You are in a group that we leave in peace, to learn whether our messages help.",
        "Drawn by lot and kept; the message that she did not get holds its slot and blocks the runners-up.",
    ),
    Reason.INTERNAL_ERROR: ReasonText(
        Gate.CHOICE,
        "The decision failed inside; the error is in the service's log.",
        "Something went wrong on our side, so we stayed silent.",
        "A failure never sends.",
    ),
}
"""One row for every reason; a test fails when one is missing."""

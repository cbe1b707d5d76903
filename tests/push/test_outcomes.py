"""What FCM's answers mean, row by row."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from firebase_admin import messaging
from hypothesis import given
from hypothesis import strategies as st

from geoservice.push.outcomes import (
    BAD_REQUEST,
    FCM_ERROR,
    Accepted,
    CredentialsRefused,
    DeadToken,
    InDoubt,
    Outcome,
    Rejected,
    RetryLater,
    TokenDead,
    WrongProject,
    classify,
    retry_after_s,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DEAD = TokenDead


def error(status: int, code: str | None = None, fields: list[str] | None = None) -> bytes:
    details: list[dict[str, object]] = []
    if code is not None:
        details.append({"@type": FCM_ERROR, "errorCode": code})
    if fields is not None:
        details.append({"@type": BAD_REQUEST, "fieldViolations": [{"field": field} for field in fields]})
    return json.dumps({"error": {"code": status, "message": "said in words", "details": details}}).encode()


HTML = b"<html>Bad gateway</html>"

ROWS: list[tuple[str, int, bytes, Outcome]] = [
    (
        "A name means that FCM has it.",
        200,
        b'{"name": "projects/p/messages/1"}',
        Accepted("projects/p/messages/1"),
    ),
    ("A 200 that is a web page proves nothing.", 200, HTML, InDoubt("answer_not_understood")),
    ("A 200 without a name proves nothing.", 200, b"{}", InDoubt("answer_not_understood")),
    (
        "A 200 with a name that is no text proves nothing.",
        200,
        b'{"name": 7}',
        InDoubt("answer_not_understood"),
    ),
    ("Any other 2xx proves nothing.", 204, b"", InDoubt("answer_not_understood")),
    ("An uninstalled app's token is dead.", 404, error(404, "UNREGISTERED"), DEAD(DeadToken.UNREGISTERED)),
    ("A 404 about no token is about the project.", 404, error(404), WrongProject()),
    ("A 404 page of a proxy retires no token.", 404, HTML, WrongProject()),
    (
        "Another app's token is of no use here.",
        403,
        error(403, "SENDER_ID_MISMATCH"),
        DEAD(DeadToken.SENDER_MISMATCH),
    ),
    ("A bare 403 is about our rights.", 403, error(403), CredentialsRefused("permission_denied")),
    (
        "FCM dislikes the token and nothing else.",
        400,
        error(400, "INVALID_ARGUMENT"),
        DEAD(DeadToken.INVALID_TOKEN),
    ),
    (
        "A bad request that names only the token is about the token.",
        400,
        error(400, "INVALID_ARGUMENT", ["message.token"]),
        DEAD(DeadToken.INVALID_TOKEN),
    ),
    (
        "A bad request that names our payload keeps the token.",
        400,
        error(400, "INVALID_ARGUMENT", ["message.data"]),
        Rejected("invalid_payload"),
    ),
    (
        "A bad request that names token and payload keeps the token.",
        400,
        error(400, None, ["message.token", "message.data"]),
        Rejected("invalid_payload"),
    ),
    (
        "A bad request that names nothing keeps the token.",
        400,
        error(400, None, []),
        Rejected("invalid_payload"),
    ),
    ("A 400 without any detail keeps the token.", 400, error(400), Rejected("http_400")),
    (
        "Too many means a minute at least.",
        429,
        error(429, "QUOTA_EXCEEDED"),
        RetryLater(60.0, "quota_exceeded"),
    ),
    ("Too many from a proxy means the same.", 429, HTML, RetryLater(60.0, "quota_exceeded")),
    ("Unavailable leaves the wait to us.", 503, error(503, "UNAVAILABLE"), RetryLater(None, "unavailable")),
    ("A 503 page means the same.", 503, HTML, RetryLater(None, "unavailable")),
    ("A 401 is about our key.", 401, error(401), CredentialsRefused("unauthenticated")),
    (
        "A wrong APNs key is no token's fault.",
        401,
        error(401, "THIRD_PARTY_AUTH_ERROR"),
        CredentialsRefused("third_party_auth"),
    ),
    ("A 500 may have come too late.", 500, error(500, "INTERNAL"), InDoubt("http_500")),
    ("A 502 may have come too late.", 502, HTML, InDoubt("http_502")),
    ("A 504 may have come too late.", 504, b"", InDoubt("http_504")),
    ("A 408 may have come too late.", 408, b"", InDoubt("http_408")),
    ("A redirect is not FCM.", 302, b"", WrongProject("redirected")),
    ("A body that FCM finds too large is ours.", 413, HTML, Rejected("http_413")),
    (
        "Nonsense in details changes nothing.",
        404,
        b'{"error": {"details": [1, {"@type": 2}]}}',
        WrongProject(),
    ),
    ("An error that is text changes nothing.", 503, b'{"error": "x"}', RetryLater(None, "unavailable")),
    ("Brackets without end are no answer.", 200, b"[" * 100_000, InDoubt("answer_not_understood")),
]


@pytest.mark.parametrize(("status", "body", "outcome"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_answer_means(status, body, outcome):
    """Each answer that FCM, or a proxy before it, may give has one meaning."""
    assert classify(status, {}, body, now=NOW) == outcome


def test_every_code_that_firebase_admin_knows_has_a_meaning_of_its_own():
    """No error code known to firebase-admin falls through to the bare HTTP status."""
    for code in messaging._MessagingService.FCM_ERROR_TYPES:
        assert not isinstance(classify(418, {}, error(418, code), now=NOW), Rejected), code


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Mon, 02 Mar 2026 12:02:00 -0000", 120.0),
        ("999999999999", 86_400.0),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header, seconds):
    """Retry-After counts whether it is a number or a date, and is ignored when it is neither."""
    assert retry_after_s(header, now=NOW) == seconds


def test_retry_after_is_honoured_for_503_and_429():
    """Retry-After is honoured under any spelling of its name; after 429 a minute is the least."""
    assert classify(503, {"retry-after": "5"}, b"", now=NOW) == RetryLater(5.0, "unavailable")
    assert classify(429, {"Retry-After": "5"}, b"", now=NOW) == RetryLater(60.0, "quota_exceeded")
    assert classify(429, {"RETRY-AFTER": "300"}, b"", now=NOW) == RetryLater(300.0, "quota_exceeded")


@given(
    st.integers(100, 599),
    st.dictionaries(st.just("Retry-After"), st.text(max_size=40)),
    st.binary(max_size=80),
)
def test_no_answer_is_too_strange(status, headers, body):
    """Whatever comes back over the wire, it is read, and only a named 200 is a success."""
    assert not isinstance(classify(status, headers, body, now=NOW), Accepted)


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from([FCM_ERROR, BAD_REQUEST]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "details", "@type", "errorCode", "fieldViolations", "field"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from([400, 401, 403, 404, 429, 500, 503]), json_values)
def test_a_token_dies_only_by_its_name(status, value):
    """No malformed error body retires a token unless it carries an FcmError code or names the token."""
    body = json.dumps(value).encode()
    said = b"errorCode" in body or b'"field"' in body
    assert said or not isinstance(classify(status, {}, body, now=NOW), TokenDead)

"""What a sender is made from: the account file and the endpoint, said at start; no secret is ever shown."""

from __future__ import annotations

import json
import traceback

import pytest
from pushes import push

from geoservice.errors import SettingsError
from geoservice.push.fcm import FcmSender
from geoservice.push.outcomes import Accepted
from geoservice.push.port import Sender
from geoservice.push.recorder import RecorderSender


async def test_nothing_secret_in_representations(account, sender):
    """Tokens, texts and keys stand in no representation and no description."""
    shown = repr(push()) + str(push()) + repr(push().__rich_repr__()) + repr(sender) + sender.describe()
    shown += repr(vars(sender)) + repr(await sender.send(push()))
    for secret in ("secret-token", "Ada", "size", "PRIVATE KEY", "ya29", account.read_text()[:40]):
        assert secret not in shown
    assert "m-1" in shown


BAD_FILES = {
    "missing": None,
    "empty": "",
    "list": "[]",
    "other kind": '{"type": "authorized_user", "refresh_token": "hush"}',
    "bad key": json.dumps(
        {
            "type": "service_account",
            "client_email": "a",
            "token_uri": "b",
            "private_key": "hush",
            "project_id": "p",
        }
    ),
    "key is a number": '{"type": "service_account", "client_email": "a", "token_uri": "b", "private_key": 7}',
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_no_service_account_is_said_at_start(tmp_path, content):
    """A credentials file that cannot be used is named at start, in a sentence that quotes nothing from it."""
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        FcmSender(path)
    text = "".join(traceback.format_exception(caught.value))
    assert str(path) in str(caught.value)
    assert "hush" not in text


async def test_an_account_without_a_project_is_said_at_start(account):
    """A service account that names no project cannot send."""
    content = json.loads(account.read_text())
    del content["project_id"]
    account.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="project_id"):
        FcmSender(account)


@pytest.mark.parametrize("endpoint", ["fcm.googleapis.com", "ftp://fcm", "http://", "http://a:port"])
async def test_an_endpoint_that_is_no_url_is_said_at_start(account, endpoint):
    """An endpoint that is no web address is refused at start."""
    with pytest.raises(SettingsError, match="endpoint"):
        FcmSender(account, endpoint=endpoint)


async def test_the_recorder_sends_nothing_and_says_so():
    """Without credentials pushes are kept, not sent, and the service says so loudly."""
    recorder: Sender = RecorderSender(kept_max=2)
    outcomes = [await recorder.send(push(number)) for number in (1, 2, 3)]
    await recorder.close()
    assert outcomes[0] == Accepted("recorded:m-1")
    assert [kept.message_id for kept in recorder.recorded] == ["m-2", "m-3"]
    assert {kept.push_token for kept in recorder.recorded} == {None}
    assert "NOTHING LEAVES" in recorder.describe()

"""The resource that `meterhouse check` reads."""

from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.errors import CredentialsRejected, UnexpectedValue


def test_each_account_has_its_own_error() -> None:
    """A response of unknown form is an error of one account; the others are checked."""

    def reject() -> None:
        raise CredentialsRejected("no", hint="Correct it.")

    response: dict[str, int] = {}
    probes = {"odd": lambda: response["usage"], "wrong": reject, "right": lambda: None}
    found = {row["account"]: row["error"] for row in credentials_check(probes)}
    assert isinstance(found["odd"], UnexpectedValue)
    assert "the response cannot be read (KeyError: 'usage')" in str(found["odd"])
    assert isinstance(found["wrong"], CredentialsRejected)
    assert found["right"] is None

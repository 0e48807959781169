"""An end whose own statement key is revoked starts, says why it is mute, and takes the next key by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

import comity.certs.own as own_room
from comity.broker.errors import ConfigInvalid
from comity.certs.authority import admit, revoke
from comity.certs.instants import from_instant
from comity.certs.key_changes import EndFolder, add_statement_key, apply_for
from comity.certs.keys import SigningKey
from comity.certs.own import NEXT_STATEMENT_KEY
from comity.certs.revocations import key_digest
from comity.v1.federation_pb2 import REVOCATION_REASON_KEY_COMPROMISE, Revocation
from tests.adapters.bench import NOON
from tests.support.federation import FederationOnDisk
from tests.test_log_key_while_serving import ENDS, built, home_of, made, serving, until

__all__ = ["built", "made"]

OWNERS = {"adapter": "lapd", "broker": "operator", "gateway": "sheriff"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_room, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr("comity.certs.renewing.LOOK_SECONDS", 0.02)


def revoke_key(made: FederationOnDisk, role: str) -> SigningKey:
    """Have the authority revoke an end's statement key; return that."""
    old = SigningKey.load(home_of(made, role) / "keys" / "statement.key")
    entry = Revocation(
        agency=OWNERS[role],
        revoked_at=from_instant(NOON),
        reason=REVOCATION_REASON_KEY_COMPROMISE,
        public_key=key_digest(old.public.der),
    )
    revoke(made.root, [entry], NOON)
    return old


def admit_next(made: FederationOnDisk, role: str, old: SigningKey) -> SigningKey:
    """Make the key that is to follow, and have it admitted."""
    home, new = home_of(made, role), SigningKey.generate()
    new.save(home / "keys" / NEXT_STATEMENT_KEY)
    end = EndFolder.load(home)
    change = add_statement_key(
        new.public, old.public, now=NOON, overlap=timedelta(days=7), lifetime=timedelta(days=365)
    )
    identity = SigningKey.load(home.parent / "identity.pem")
    path = apply_for(end, end.federation(NOON), change, identity=identity, now=NOON)
    admit(made.root, [path.read_bytes()], NOON)
    return new


def key_in_force(made: FederationOnDisk, role: str) -> str:
    return SigningKey.load(home_of(made, role) / "keys" / "statement.key").key_id


@pytest.mark.parametrize("role", ENDS)
async def test_end_starts_with_a_revoked_key_and_takes_the_next_one(
    made: FederationOnDisk, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It has to run to learn of the roster that names the next one; meanwhile it says what is wrong."""
    old = revoke_key(made, role)
    async with serving(home_of(made, role), role):
        await until(lambda: "own statement key" in caplog.text and "is revoked" in caplog.text)
        new = admit_next(made, role, old)
        await until(lambda: key_in_force(made, role) == new.key_id)


@pytest.mark.parametrize("role", ["adapter", "broker"])
async def test_end_takes_the_next_key_at_its_start_where_the_old_one_counts_no_more(
    made: FederationOnDisk, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As `comity certs rotate statement-key` says: within seconds, or at its start."""
    new = admit_next(made, role, revoke_key(made, role))
    async with serving(home_of(made, role), role):
        await until(lambda: key_in_force(made, role) == new.key_id)
    assert "is revoked" not in caplog.text


async def test_end_does_not_start_with_a_key_that_was_never_named(made: FederationOnDisk) -> None:
    """Nor takes it one to follow that the roster doesn't name."""
    keys = home_of(made, "broker") / "keys"
    SigningKey.generate().save(keys / "statement.key")
    SigningKey.generate().save(keys / NEXT_STATEMENT_KEY)
    with pytest.raises(ConfigInvalid, match="none that the roster"):
        async with serving(home_of(made, "broker"), "broker"):
            pass
    assert (keys / NEXT_STATEMENT_KEY).exists()

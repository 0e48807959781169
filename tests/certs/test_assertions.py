"""Subject assertions: every way in which one might vouch for a person without being entitled to (Q4)."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from comity.certs.assertions import Claims, DemoIdentityProvider, verify_assertion
from comity.certs.errors import AssertionInvalid, FileExposed, KeyUnusable, SetupRefused
from comity.certs.identity_provider import JsonValue, User
from comity.certs.jwks import es256_keys, to_jwks
from comity.certs.keys import SigningKey
from comity.certs.roster import MemberView
from comity.certs.x509 import certificate_der, issue_leaf
from comity.v1.federation_pb2 import IdentityProvider
from tests.support.rosters import DAY, NOON, Forge, Party

MINUTE = timedelta(minutes=1)


class Desk:
    """LAPD with its identity provider and one client system, and the roster that names both."""

    def __init__(self, folder: Path) -> None:
        self.forge = Forge()
        self.provider = self.add_provider(self.forge.lapd, folder / "lapd")
        self.other_provider = self.add_provider(self.forge.lahd, folder / "lahd")
        self.provider.add_user(USER)
        self.other_provider.add_user(USER)
        self.leaf = self.client(self.forge.lapd, "desk")

    def add_provider(self, party: Party, folder: Path) -> DemoIdentityProvider:
        provider = DemoIdentityProvider.create(
            folder, agency=party.agency, issuer=f"https://login.{party.domain}"
        )
        entry = IdentityProvider(issuer=provider.issuer, jwks=provider.jwks)
        party.key_set.identity_providers.append(entry)
        party.sign_key_set()
        return provider

    def client(self, party: Party, name: str) -> bytes:
        spiffe_id = f"spiffe://{party.domain}/system/{name}"
        leaf = issue_leaf(party.ca, party.ca_key, spiffe_id=spiffe_id, now=NOON, lifetime=DAY)
        return certificate_der(leaf.certificate)

    @property
    def member(self) -> MemberView:
        return self.forge.verify().member("lapd")

    def issue(self, **overrides: JsonValue) -> str:
        return self.provider.issue("r.diaz", self.leaf, NOON, 5 * MINUTE, **overrides)

    def verify(
        self, assertion: str, *, now: datetime = NOON, leaf: bytes | None = None, agency: str = "lapd"
    ) -> Claims:
        member = self.forge.verify().member(agency)
        return verify_assertion(assertion, member=member, now=now, certificate_der=leaf or self.leaf)


USER = User(
    user="r.diaz", office="Detectives", roles=("investigator", "analyst"), trained_on=date(2026, 3, 1)
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def segment(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def payload_of(assertion: str) -> dict[str, object]:
    text = assertion.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert isinstance(found, dict)
    return found


def test_honest_assertion_vouches_for_its_user(desk: Desk) -> None:
    """What the agency's own provider signed for the caller's certificate gives every claim (Q4)."""
    claims = desk.verify(desk.issue())
    assert (claims.user, claims.agency, claims.office) == ("r.diaz", "lapd", "Detectives")
    assert claims.roles == ("investigator", "analyst")
    assert claims.trained_at.date() == date(2026, 3, 1)
    assert claims.rules_accepted_at == claims.issued_at == NOON
    assert claims.rules_digest == hashlib.sha256(desk.provider.rules.encode()).digest()
    assert claims.good_standing
    assert claims.protections_attested
    assert claims.expires_at == NOON + 5 * MINUTE
    assert "diaz" not in repr(claims)
    assert "diaz" not in repr(USER)


def test_second_hop_sees_no_certificate(desk: Desk) -> None:
    """A provider can't compare the caller's certificate, but one must be named."""
    member = desk.member
    verify_assertion(desk.issue(), member=member, now=NOON, certificate_der=None)
    with pytest.raises(AssertionInvalid, match="`cnf`"):
        verify_assertion(desk.issue(cnf=None), member=member, now=NOON, certificate_der=None)


def test_assertion_of_another_agency(desk: Desk) -> None:
    """An assertion of the Port Police's provider vouches for nobody at LAPD."""
    foreign = desk.other_provider.issue("r.diaz", desk.leaf, NOON)
    with pytest.raises(AssertionInvalid, match="`iss` is not an identity provider of `lapd`"):
        desk.verify(foreign)


def test_provider_that_speaks_for_another_agency(desk: Desk) -> None:
    """The Port Police's provider can't claim LAPD's issuer or LAPD's name."""
    as_lapd = desk.other_provider.issue("r.diaz", desk.leaf, NOON, iss="https://login.lapd.example")
    with pytest.raises(AssertionInvalid, match="`kid` names no key of its issuer"):
        desk.verify(as_lapd)
    named_lapd = desk.other_provider.issue("r.diaz", desk.leaf, NOON, agency="lapd")
    with pytest.raises(AssertionInvalid, match="`agency` is not `lahd`"):
        desk.verify(named_lapd, agency="lahd")


def test_stolen_kid(desk: Desk, tmp_path: Path) -> None:
    """A token that names LAPD's key and is signed by another fails at the signature."""
    payload = json.dumps(payload_of(desk.issue())).encode()
    kid = next(iter(es256_keys(desk.provider.jwks)))
    forged = jwt.PyJWS().encode(payload, SigningKey.generate().pem, "ES256", headers={"kid": kid})
    with pytest.raises(AssertionInvalid, match="signature"):
        desk.verify(forged)


def test_assertion_past_its_time(desk: Desk) -> None:
    """After `exp`, and five seconds of skew, the user logs on again; our clock alone counts."""
    assertion = desk.issue()
    desk.verify(assertion, now=NOON + 5 * MINUTE + timedelta(seconds=4))
    with pytest.raises(AssertionInvalid, match="`exp` has passed"):
        desk.verify(assertion, now=NOON + 5 * MINUTE + timedelta(seconds=5))


def test_assertion_before_its_time(desk: Desk) -> None:
    """An assertion from the future, or not yet valid, isn't accepted."""
    with pytest.raises(AssertionInvalid, match="`iat` is still to come"):
        desk.verify(desk.issue(), now=NOON - timedelta(seconds=6))
    with pytest.raises(AssertionInvalid, match="`nbf` is still to come"):
        desk.verify(desk.issue(nbf=int((NOON + MINUTE).timestamp())))


def test_assertion_that_lives_too_long(desk: Desk) -> None:
    """Ten minutes at most, whatever the provider signs."""
    desk.verify(desk.provider.issue("r.diaz", desk.leaf, NOON, 10 * MINUTE))
    for lifetime in (10 * MINUTE + timedelta(seconds=1), timedelta(0), -MINUTE):
        with pytest.raises(AssertionInvalid, match="`exp`"):
            desk.verify(desk.provider.issue("r.diaz", desk.leaf, NOON, lifetime))


def test_assertion_for_another_certificate(desk: Desk) -> None:
    """A stolen assertion is useless with any other client's certificate (RFC 8705)."""
    with pytest.raises(AssertionInvalid, match="another certificate"):
        desk.verify(desk.issue(), leaf=desk.client(desk.forge.lapd, "desk"))


@pytest.mark.parametrize("audience", ["other", "", ["comity", "other"], [], ["other"], {"comity": 1}, 1])
def test_assertion_for_another_audience(desk: Desk, audience: JsonValue) -> None:
    """An assertion for another service, or for one more, isn't ours to use."""
    with pytest.raises(AssertionInvalid, match="`aud`"):
        desk.verify(desk.issue(aud=audience))


def test_audience_as_a_list_of_one(desk: Desk) -> None:
    """Providers that always write a list are understood."""
    desk.verify(desk.issue(aud=["comity"]))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None])
def test_unsigned_assertion(desk: Desk, algorithm: str | None) -> None:
    """`alg: none`, in any spelling, is refused before anything else is believed."""
    kid = next(iter(es256_keys(desk.provider.jwks)))
    header = {"alg": algorithm, "kid": kid}
    body = segment(payload_of(desk.issue()))
    for signature in ("", segment(b"x" * 64)):
        with pytest.raises(AssertionInvalid, match="`alg` is not `ES256`"):
            desk.verify(f"{segment(header)}.{body}.{signature}")


def test_public_key_as_hmac_secret(desk: Desk) -> None:
    """HS256 with the published key as its secret is the oldest trick; only ES256 is spoken."""
    kid, key = next(iter(es256_keys(desk.provider.jwks).items()))
    signed = f"{segment({'alg': 'HS256', 'kid': kid})}.{segment(payload_of(desk.issue()))}"
    mac = hmac.new(key.der, signed.encode(), "sha256").digest()
    with pytest.raises(AssertionInvalid, match="`alg` is not `ES256`"):
        desk.verify(f"{signed}.{segment(mac)}")


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"]},
        {"jwk": {"kty": "EC"}},
        {"jku": "https://evil.example"},
        {"x5c": ["AA=="]},
        {"x5u": "https://evil.example"},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
    ],
)
def test_token_that_brings_its_own_rules(desk: Desk, extra: dict[str, object]) -> None:
    """A token never chooses its key, its encoding or what must be understood."""
    kid = next(iter(es256_keys(desk.provider.jwks)))
    _, body, signature = desk.issue().split(".")
    with pytest.raises(AssertionInvalid, match="header has other fields"):
        desk.verify(f"{segment({'alg': 'ES256', 'kid': kid, **extra})}.{body}.{signature}")


def test_key_from_another_curve_or_use(desk: Desk) -> None:
    """Keys for encryption, of other curves or algorithms in the JWK set verify no assertion."""
    good = json.loads(desk.provider.jwks)["keys"][0]
    for change in ({"use": "enc"}, {"alg": "ES384"}, {"crv": "P-384"}, {"kty": "RSA"}):
        with pytest.raises(KeyUnusable, match="no ES256 key"):
            es256_keys(json.dumps({"keys": [{**good, **change}]}).encode())
    rsa = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r"}
    assert list(es256_keys(json.dumps({"keys": [rsa, good]}).encode())) == [good["kid"]]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA"}]}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        b" " * 70_000,
    ],
)
def test_malformed_jwks(text: bytes) -> None:
    """A JWK set that can't be used is refused, not taken for one without keys."""
    with pytest.raises(KeyUnusable, match="JWK"):
        es256_keys(text)


def test_jwks_with_a_point_off_the_curve_or_a_kid_twice() -> None:
    """Each key is a point of P-256 and has a `kid` of its own."""
    key = SigningKey.generate().public
    document = json.loads(to_jwks({"a": key}))
    assert es256_keys(to_jwks({"a": key})) == {"a": key}
    with pytest.raises(KeyUnusable, match="`kid`"):
        es256_keys(json.dumps({"keys": document["keys"] * 2}).encode())
    document["keys"][0]["y"] = segment(b"\x01" * 32)
    with pytest.raises(KeyUnusable, match="no point"):
        es256_keys(json.dumps(document).encode())


@pytest.mark.parametrize("claim", ["sub", "aud", "iat", "exp", "jti", "cnf", "comity"])
def test_missing_top_level_claim(desk: Desk, claim: str) -> None:
    """Every claim is required; the refusal names it."""
    with pytest.raises(AssertionInvalid, match=f"`{claim}`"):
        desk.verify(desk.issue(**{claim: None}))


@pytest.mark.parametrize(
    "claim",
    [
        "agency",
        "office",
        "duty_station",
        "roles",
        "trained_at",
        "rules_accepted_at",
        "rules_digest",
        "good_standing",
        "protections_attested",
    ],
)
def test_missing_claim_about_the_user(desk: Desk, claim: str) -> None:
    """What a policy decides on is never assumed (Q4, Q9)."""
    with pytest.raises(AssertionInvalid, match=f"claim `{claim}` is missing"):
        desk.verify(desk.issue(**{claim: None}))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("good_standing", "true"),
        ("good_standing", 1),
        ("protections_attested", "yes"),
        ("roles", "investigator"),
        ("roles", [1]),
        ("roles", [""]),
        ("trained_at", "2026-01-01"),
        ("trained_at", True),
        ("trained_at", 1e300),
        ("trained_at", -1e300),
        ("trained_at", 10**400),
        ("exp", float("nan")),
        ("exp", 253_402_300_799),
        ("iat", 10**400),
        ("iat", "now"),
        ("exp", [1]),
        ("rules_digest", "AAAA"),
        ("rules_digest", "not base64!"),
        ("sub", ""),
        ("sub", "two\nlines"),
        ("sub", 7),
        ("jti", ""),
        ("comity", "text"),
        ("cnf", "text"),
        ("cnf", {}),
        ("cnf", {"x5t#S256": "AAAA"}),
        ("cnf", {"x5t#S256": 7}),
    ],
)
def test_claim_of_the_wrong_kind(desk: Desk, claim: str, value: JsonValue) -> None:
    """A claim that isn't of its kind is refused, never read as something near it."""
    with pytest.raises(AssertionInvalid, match=f"{claim}"):
        desk.verify(desk.issue(**{claim: value}))


@pytest.mark.parametrize("claim", ["trained_at", "rules_accepted_at"])
def test_training_or_acceptance_to_come(desk: Desk, claim: str) -> None:
    """A training or an acceptance that is still to come has not happened (Q4)."""
    with pytest.raises(AssertionInvalid, match=f"`{claim}` is later than `iat`"):
        desk.verify(desk.issue(**{claim: int((NOON + DAY).timestamp())}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        "x" * 9_000,
        f"{segment([])}.{segment({})}.",
        f"{segment(b'{')}.{segment({})}.",
        f"{segment(b'[' * 3_000)}.{segment({})}.",
        f"{segment({'alg': 'ES256', 'kid': 1})}.{segment([])}.",
    ],
)
def test_what_is_no_token_at_all(desk: Desk, text: str) -> None:
    """Anything may come from outside; it is refused as an assertion, and nothing else happens."""
    with pytest.raises(AssertionInvalid):
        desk.verify(text)


def test_claim_that_stands_twice(desk: Desk) -> None:
    """Two readers must not see two values of one claim, also if the provider signed both."""
    key = SigningKey.load(desk.provider._folder / "idp.key")
    payload = json.dumps(payload_of(desk.issue()))[:-1] + ', "sub": "somebody.else"}'
    signed = jwt.PyJWS().encode(payload.encode(), key.pem, "ES256", headers={"kid": key.key_id})
    with pytest.raises(AssertionInvalid, match="payload is not JSON"):
        desk.verify(signed)


def test_padded_or_non_canonical_segments(desk: Desk) -> None:
    """One token has one spelling, or a cache keyed on it could be tricked."""
    header, body, signature = desk.issue().split(".")
    for changed in (f"{header}=.{body}.{signature}", f"{header}.{body}.{signature}\n"):
        with pytest.raises(AssertionInvalid):
            desk.verify(changed)


def test_refusal_tells_no_value(desk: Desk) -> None:
    """A refusal names the claim; user, office and token stay out of it."""
    assertion = desk.issue(office="Secret Office", good_standing="x")
    with pytest.raises(AssertionInvalid) as caught:
        desk.verify(assertion)
    assert "diaz" not in str(caught.value)
    assert "Secret" not in str(caught.value)


# --- the provider for demonstrations ------------------------------------------------------------------------


def test_users_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Users survive the file, with quotes and accents in their offices; adding one again changes them."""
    provider = DemoIdentityProvider.create(tmp_path, agency="lapd", issuer="https://login.lapd.example")
    odd = User(
        user="a.b-c_d",
        office='Office "Ärger" \\ 1',
        roles=("a", "b"),
        trained_on=date(2026, 1, 31),
        duty_station="Otay Mesa",
        good_standing=False,
    )
    provider.add_user(odd)
    provider.add_user(USER)
    provider.add_user(USER)
    assert DemoIdentityProvider(tmp_path).users() == {"a.b-c_d": odd, "r.diaz": USER}


def test_user_in_bad_standing_is_told_as_such(desk: Desk) -> None:
    """The assertion says what the agency knows; the provider's policy refuses (Q4)."""
    desk.provider.add_user(User(user="r.diaz", trained_on=date(2020, 1, 1), good_standing=False))
    claims = desk.verify(desk.issue())
    assert not claims.good_standing
    assert claims.trained_at.year == 2020


def test_review_of_the_account_is_told_or_not(desk: Desk) -> None:
    """An account's review is a claim that may be missing; a wrong one is refused (L9)."""
    assert desk.verify(desk.issue()).account_reviewed_at is None
    desk.provider.add_user(
        User(user="r.diaz", trained_on=date(2026, 3, 1), account_reviewed_on=date(2026, 1, 2))
    )
    assert desk.verify(desk.issue()).account_reviewed_at == datetime(2026, 1, 2, tzinfo=UTC)
    for wrong in ("soon", True, int(datetime(2999, 1, 1, tzinfo=UTC).timestamp())):
        with pytest.raises(AssertionInvalid, match="account_reviewed_at"):
            desk.verify(desk.issue(account_reviewed_at=wrong))


def test_unknown_user_is_issued_nothing(desk: Desk) -> None:
    """Nobody is vouched for who isn't in the file; the error says how to add them."""
    with pytest.raises(SetupRefused, match="comity agency user"):
        desk.provider.issue("nobody", desk.leaf, NOON)


def test_provider_is_not_overwritten(tmp_path: Path) -> None:
    """A second `create` leaves the key that the roster names alone."""
    provider = DemoIdentityProvider.create(tmp_path, agency="lapd", issuer="https://login.lapd.example")
    with pytest.raises(SetupRefused, match="there already"):
        DemoIdentityProvider.create(tmp_path, agency="lapd", issuer="https://login.lapd.example")
    assert DemoIdentityProvider(tmp_path).jwks == provider.jwks


def test_key_that_others_can_read(tmp_path: Path) -> None:
    """A signing key with a careless mode isn't used."""
    DemoIdentityProvider.create(tmp_path, agency="lapd", issuer="https://login.lapd.example")
    (tmp_path / "idp.key").chmod(0o644)
    with pytest.raises(FileExposed):
        DemoIdentityProvider(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "users = 1",
        "[users]\na = 1",
        "[users.a]\noffice = 'x'",
        "[users.a]\ntrained_on = 2026-01-01T00:00:00Z",
        "[users.a]\ntrained_on = 2026-01-01\nroles = 'x'",
        "[users.a]\ntrained_on = 2026-01-01\ngood_standing = 'no'",
        "[users.'A B']\ntrained_on = 2026-01-01",
    ],
)
def test_malformed_users_file(tmp_path: Path, text: str) -> None:
    """A mistake in the file is named with the file, and nobody is issued anything meanwhile."""
    provider = DemoIdentityProvider.create(tmp_path, agency="lapd", issuer="https://login.lapd.example")
    (tmp_path / "users.toml").write_text(text)
    with pytest.raises(SetupRefused, match=r"users\.toml"):
        provider.users()

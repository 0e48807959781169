"""`comity certs doctor`: why a handshake fails, because gRPC says "socket closed" to everything."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.text import Text

from comity.certs.clock import utc_now
from comity.certs.diagnosis import Finding, Shown, explain, judge_chain, shown
from comity.certs.errors import CertsError
from comity.certs.files import read_public
from comity.certs.members import MemberView
from comity.certs.pairs import LeafPair, judge_pair
from comity.certs.profile import check_leaf, load_certificate
from comity.certs.roster import Federation
from comity.certs.x509 import split_pem
from comity.cli.certs_folder import SYSTEM, Standpoint, standpoint
from comity.cli.rendering import clean, terminal
from comity.cli.reporting import Json, json_option, refused_as_usage, report, spelled
from comity.cli.tls_probe import HTTP2, Probed, probe

NEWEST = "TLSv1.3"
_PORTS = {"broker": 7400, "gateway": 7443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """All that is told of one examination."""

    target: str
    expected: str
    """The SPIFFE id that is expected there; empty: whoever it is."""
    probed: Probed
    own: LeafPair | None
    findings: tuple[Finding, ...]


@click.command(
    "doctor",
    epilog="Example: comity certs doctor broker.example.org:7400 --from /srv/comity/lapd/adapter  "
    "Exit status: 0 the handshake works, 1 it doesn't, 2 wrong use.",
)
@click.argument("target", metavar="HOST[:PORT]|CHAIN.pem")
@click.option(
    "--from",
    "home",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Who dials: the folder of an end, a client system or an agency; a published roster to look only.",
)
@click.option("--expect", metavar="SPIFFE-ID", help="Who should be there.  [default: whom DIR dials]")
@click.option("--seconds", type=click.FloatRange(0.1, 120), default=10.0, show_default=True, help="Patience.")
@json_option
@refused_as_usage
def command(target: str, home: Path, expect: str | None, seconds: float, as_json: bool) -> None:
    """Make a handshake with HOST as the end in DIR would, and explain in plain words why it fails.

    What the peer presents is judged by the verifier that every handshake asks, with the roster of DIR; so is
    what this end presents. Nothing is sent beyond the handshake. CHAIN.pem: a file is judged instead, without
    a network.
    """
    now = utc_now()
    where = standpoint(home, now=now)
    if Path(target).is_file():
        found = _examine_file(Path(target), where, expect, now)
    else:
        found = _examine_host(target, where, expect, seconds, now)
    if as_json:
        report(True, _values(found))
    else:
        _print(found, now)
    sys.exit(1 if found.findings else 0)


def _examine_host(
    target: str, where: Standpoint, expect: str | None, seconds: float, now: datetime
) -> Examined:
    expected = expect if expect is not None else where.dials
    host, port = _address(target, expected)
    name = _dialled_as(expected)
    probed = probe(host, port, name=name or host, own=where.pair, seconds=seconds)
    own = _own_findings(where, now)
    peer = [*_protocol(probed)]
    if probed.chain:
        peer += _judged(probed.chain, where, expected, now, dns_name=name)
    network = list(probed.findings)
    is_old = probed.version not in ("", NEWEST)  # what comes of that would only distract
    if probed.hung_up and not own and not is_old:
        network.append(_hung_up(where, expected))
    if any(finding.whose == "own" for finding in own):  # said more exactly than by the peer's alert
        network = [finding for finding in network if finding.whose != "own"]
    return Examined(
        target=f"{host}:{port}",
        expected=expected,
        probed=probed,
        own=where.pair,
        findings=(*own, *peer, *network),
    )


def _examine_file(path: Path, where: Standpoint, expect: str | None, now: datetime) -> Examined:
    chain = split_pem(read_public(path))
    findings = [*where.faults, *_judged(chain, where, expect or "", now, dns_name="")]
    return Examined(
        target=str(path),
        expected=expect or "",
        probed=Probed(chain=chain),
        own=None,
        findings=tuple(findings),
    )


def _address(target: str, expected: str) -> tuple[str, int]:
    """Return host and port; without a port, that of whom is expected."""
    host, separator, port = target.rpartition(":")
    if not separator or target.endswith("]"):
        role = expected.rpartition("/")[2]
        return target.strip("[]"), _PORTS.get(role, _PORTS["broker"])
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise click.UsageError(f"`{target}` is neither a file nor HOST[:PORT]")
    return host.strip("[]"), int(port)


def _dialled_as(expected: str) -> str:
    """Return the DNS name that gRPC wants in the leaf of this end: `broker.operator.example`."""
    domain, slash, path = expected.removeprefix("spiffe://").partition("/")
    return f"{path}.{domain}" if slash and path in _PORTS else ""


def _judged(
    chain: Sequence[bytes], where: Standpoint, expected: str, now: datetime, *, dns_name: str
) -> list[Finding]:
    """Return why the chain is refused, by the roster at hand."""
    if where.federation is None:
        return []
    try:
        domain = check_leaf(load_certificate(chain[0])).spiffe_id.domain
    except CertsError as error:
        return [explain(str(error), whose="peer")]
    wanted = expected.removeprefix("spiffe://").partition("/")[0] or domain
    member = _member_of(where.federation, wanted)
    if member is None:
        return [
            Finding(
                code="not-a-member",
                whose="peer",
                text=f"`{wanted}` is no member's domain in roster version {where.federation.version}",
                act="is the roster here the newest, and has this agency been admitted?",
            )
        ]
    found = judge_chain(
        chain,
        member=member,
        spiffe_id=expected or None,
        dns_name=dns_name,
        whose="peer",
        now=now,
        revoked=member.revoked,
    )
    if not found and member.is_out:
        found = [_suspended(member, "peer")]
    return found


def _own_findings(where: Standpoint, now: datetime) -> list[Finding]:
    """Return what is wrong at home: credentials, roster, membership, clock."""
    found = list(where.faults)
    if where.federation is None or where.pair is None:
        return found
    member = where.member or _member_of(where.federation, where.pair.domain)
    if member is None:
        found.append(
            Finding(
                code="not-a-member",
                whose="own",
                text=f"`{where.pair.domain}` is no member's domain in roster version "
                f"{where.federation.version}",
                act="apply, and be admitted: comity federation admit",
            )
        )
        return found
    if where.role == SYSTEM and not where.pair.spiffe_id.startswith(f"spiffe://{member.domain}/{SYSTEM}/"):
        found.append(
            explain(
                f"leaf names `{where.pair.spiffe_id}`, expected `spiffe://{member.domain}/{SYSTEM}/…`",
                whose="own",
            )
        )
    elif where.role and where.role != SYSTEM:
        try:
            judge_pair(where.pair, member=member, role=where.role, now=now)
        except CertsError as error:
            found.append(explain(str(error), whose="own"))
    else:
        found += judge_chain(
            where.pair.chain_der,
            member=member,
            spiffe_id=where.pair.spiffe_id,
            dns_name="",
            whose="own",
            now=now,
            revoked=member.revoked,
        )
    if where.statement_revoked is not None:
        found.append(
            Finding(
                code="revoked",
                whose="own",
                text=f"this end's statement key is {where.statement_revoked}: with it nothing is asked or "
                "answered, though the handshake works",
                act="make another: comity certs rotate statement-key DIR; the authority admits it",
            )
        )
    if member.is_out:
        found.append(_suspended(member, "own"))
    return found


def _hung_up(where: Standpoint, expected: str) -> Finding:
    """Return why a peer hangs up on a leaf that is right by the roster here."""
    if where.pair is None:
        return Finding(
            code="no-certificate",
            whose="own",
            text="the peer wants a certificate, and none was presented",
            act="name the folder whose leaf is to be presented: --from DIR",
        )
    domain, _, path = expected.removeprefix("spiffe://").partition("/")
    if path == "gateway" and domain != where.pair.domain:
        return Finding(
            code="unknown-ca",
            whose="own",
            text=f"this gateway takes the systems of `{domain}` alone, and hung up on one of "
            f"`{where.pair.domain}`",
            act="dial your own agency's gateway; between agencies everything goes through the broker",
        )
    return Finding(
        code="unknown-ca",
        whose="peer",
        text="the peer hung up on this end's leaf, which is right by the roster here: it has an older "
        "roster, another clock, or a list on which the leaf is revoked",
        act="at the peer: comity certs status, its clock, and its log at this moment",
    )


def _suspended(member: MemberView, whose: str) -> Finding:
    if member.lapsed and not member.suspended:
        return Finding(
            code="lapsed",
            whose=whose,
            text=f"`{member.agency}`: {member.lapsed}; its links stay, and nothing is asked or answered",
            act="this agency signs it anew: comity certs revoke --dir AGENCY --refresh",
        )
    return Finding(
        code="suspended",
        whose=whose,
        text=f"`{member.agency}` is suspended in the roster: no link, no session",
        act="ask the governing authority (comity federation suspend --lift)",
    )


def _member_of(federation: Federation, domain: str) -> MemberView | None:
    if federation.operator.domain == domain:
        return federation.operator
    return next((member for member in federation.members.values() if member.domain == domain), None)


def _protocol(probed: Probed) -> list[Finding]:
    found = []
    if probed.version and probed.version != NEWEST:
        found.append(
            Finding(
                code="tls-version",
                whose="peer",
                text=f"the peer speaks {probed.version} at most; 1.3 is the oldest that is used",
                act="the peer must offer TLS 1.3; look for an appliance in between that ends TLS",
            )
        )
    if probed.version == NEWEST and probed.alpn != HTTP2.decode() and not probed.findings:
        found.append(
            Finding(
                code="not-grpc",
                whose="peer",
                text="the peer speaks TLS and no HTTP/2",
                act="is the port right? A broker's or gateway's `listen` names it",
            )
        )
    return found


def _print(found: Examined, now: datetime) -> None:
    console = terminal()
    at = f" ({found.probed.address})" if found.probed.address else ""
    console.print(Text(clean(found.target) + at, style="bold"), soft_wrap=True)
    if found.expected:
        console.print(Text(f"expected   {clean(found.expected)}"), soft_wrap=True)
    if found.probed.version:
        console.print(Text(f"protocol   {found.probed.version}, {found.probed.alpn or 'no ALPN'}"))
    _print_chain("peer shows", found.probed.chain, now)
    if found.own is not None:
        _print_chain("this shows", found.own.chain_der[:1], now)
    for finding in found.findings:
        console.print(Text(f"✗ {finding.whose}: {clean(finding.text)}", style="bold red"), soft_wrap=True)
        console.print(Text(f"  → {clean(finding.act)}", style="yellow"), soft_wrap=True)
    if not found.findings:
        both = "the handshake works, and each side takes the other's certificate"
        said = both if found.probed.version else "this is what the roster's ends accept"
        console.print(Text(f"✓ {said}", style="green"))


def _left(left: timedelta) -> str:
    """Return what is left of a certificate's time: days, or below three of them hours and minutes."""
    if left >= timedelta(days=3):
        return f"{left.days} d"
    minutes = int(abs(left).total_seconds()) // 60
    spelt = (
        f"{abs(left).days} d" if abs(left) >= timedelta(days=3) else f"{minutes // 60}:{minutes % 60:02} h"
    )
    return spelt if left > timedelta() else f"over since {spelt}"


def _print_chain(heading: str, chain: Sequence[bytes], now: datetime) -> None:
    console = terminal()
    for number, der in enumerate(chain):
        try:
            one = shown(der)
        except CertsError as error:
            console.print(Text(f"{heading if not number else '':<10} {clean(str(error))}"), soft_wrap=True)
            continue
        until = f"until {spelled(one.not_after)} ({_left(one.not_after - now)})"
        line = f"{heading if not number else '':<10} {clean(one.subject)}; {one.key}; {until}"
        console.print(Text(line), soft_wrap=True)
        console.print(
            Text(f"{'':<10} by {clean(one.issuer)}; {one.fingerprint[:16]}", style="dim"), soft_wrap=True
        )


def _values(found: Examined) -> dict[str, Json]:
    """Return an examination for scripts."""
    return {
        "target": found.target,
        "expected": found.expected,
        "good": not found.findings,
        "tls": {"version": found.probed.version, "alpn": found.probed.alpn, "address": found.probed.address},
        "peer": [_shown(der) for der in found.probed.chain],
        "own": [_shown(der) for der in (found.own.chain_der if found.own is not None else ())],
        "findings": [
            {"code": one.code, "whose": one.whose, "text": one.text, "act": one.act} for one in found.findings
        ],
    }


def _shown(der: bytes) -> dict[str, Json]:
    try:
        one: Shown = shown(der)
    except CertsError as error:
        return {"fault": str(error)}
    return {
        "subject": one.subject,
        "issuer": one.issuer,
        "key": one.key,
        "not_before": spelled(one.not_before),
        "not_after": spelled(one.not_after),
        "sha256": one.fingerprint,
    }

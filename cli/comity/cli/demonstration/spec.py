"""The demonstration federation as data: who is in it, who agreed on what (`federation.toml` beside this)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources
from typing import cast

from comity.certs.drafting import AgreementTerms
from comity.certs.identity_provider import User
from comity.cli.ceilings import make_ceiling

_Table = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyEntry:
    """One agency of the demonstration."""

    agency: str
    name: str
    kind: str
    domain: str
    contact: str
    state: str
    asks: bool
    provides: bool
    users: tuple[User, ...]
    """Its users, trained some weeks before `today`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationSpec:
    """The whole demonstration federation on one day."""

    name: str
    operator_domain: str
    operator_name: str
    agencies: tuple[AgencyEntry, ...]
    agreements: tuple[AgreementTerms, ...]

    @classmethod
    def load(cls, today: date) -> DemonstrationSpec:
        """Return the federation with its dates counted from `today`."""
        text = resources.files(__package__).joinpath("federation.toml").read_text(encoding="utf-8")
        return cls.parse(text, today)

    @classmethod
    def parse(cls, text: str, today: date) -> DemonstrationSpec:
        """Return the federation in `text`, which has the form of `federation.toml`.

        The file belongs to the product, so a mistake in it raises whatever it raises: `KeyError`,
        `SetupRefused`, `ValueError`.
        """
        table = tomllib.loads(text)
        return cls(
            name=table["name"],
            operator_domain=table["operator_domain"],
            operator_name=table["operator_name"],
            agencies=tuple(_agency(entry, today) for entry in table["agency"]),
            agreements=tuple(_agreement(entry, today) for entry in table["agreement"]),
        )

    def only(self, agencies: Collection[str]) -> DemonstrationSpec:
        """Return the federation with these agencies alone, and the agreements between them.

        Raises `KeyError` for an agency that isn't in it.
        """
        known = {entry.agency: entry for entry in self.agencies}
        kept = {agency: known[agency] for agency in agencies}
        return DemonstrationSpec(
            name=self.name,
            operator_domain=self.operator_domain,
            operator_name=self.operator_name,
            agencies=tuple(entry for entry in self.agencies if entry.agency in kept),
            agreements=tuple(terms for terms in self.agreements if set(terms.parties) <= kept.keys()),
        )


def _agency(table: _Table, today: date) -> AgencyEntry:
    """Return one `[[agency]]` table."""
    users = cast("list[dict[str, object]]", table.get("user", []))
    return AgencyEntry(
        agency=str(table["id"]),
        name=str(table["name"]),
        kind=str(table["kind"]),
        domain=str(table["domain"]),
        contact=str(table["contact"]),
        state=str(table.get("state", "")),
        asks=table.get("asks") is True,
        provides=table.get("provides") is True,
        users=tuple(
            User(
                user=str(user["user"]),
                office=str(user["office"]),
                roles=tuple(cast("list[str]", user["roles"])),
                duty_station=str(user["duty_station"]),
                trained_on=today - timedelta(days=60),
                account_reviewed_on=today - timedelta(days=120),
            )
            for user in users
        ),
    )


def _agreement(table: _Table, today: date) -> AgreementTerms:
    """Return one `[[agreement]]` table, its days turned into dates."""
    before, after = (
        cast("int", table[f"{name}"]) for name in ("effective_days_before", "expires_days_after")
    )
    kept = {name: value for name, value in table.items() if not name.endswith(("_before", "_after"))}
    if "duty" in kept:
        kept["duty"] = [_duty(duty, today) for duty in cast("list[_Table]", kept["duty"])]
    dates = {"effective": today - timedelta(days=before), "expires": today + timedelta(days=after)}
    return AgreementTerms.from_table({**kept, **dates}, make_ceiling)


def _duty(table: _Table, today: date) -> dict[str, object]:
    """Return one `[[agreement.duty]]` table, its days turned into a date."""
    kept = {name: value for name, value in table.items() if name != "first_days_after"}
    return {**kept, "first": today + timedelta(days=cast("int", table["first_days_after"]))}

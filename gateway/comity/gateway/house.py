"""House rules at the gateway: the agency's own law for its own people, judged before anything is asked.

They stop its users or warn them, and that is all: nothing of them, nor of what they say, is part of an order
or a query, so that no provider can rely on them, and none decides otherwise for them (design 6). They are
read again when their folder changes; a bundle that isn't right leaves the old one in force, and it is told.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from comity.audit.entry import Entry, JsonValue
from comity.certs.assertions import Claims
from comity.certs.instants import CLOCK_SKEW, to_instant
from comity.certs.roster import Federation
from comity.certs.watching import FileWatch
from comity.gateway.errors import ConfigInvalid
from comity.gateway.question import Question
from comity.policy.decision import Rule
from comity.policy.errors import PolicyError
from comity.policy.house.bundle import Enforcement, HouseBundle
from comity.policy.house.facts import AskedOf, HouseQuestion, names_a_person
from comity.policy.house.rules import FAILED, HouseRules, Judgement
from comity.policy.reasons import told_by
from comity.v1 import common_pb2, result_pb2

LOGGER = logging.getLogger("comity.gateway")

TABLE: Final = "house_rules"
"""The table of `gateway.toml`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseSettings:
    """Where the house bundle lies, and what the configuration sets otherwise than its annotations."""

    bundle: Path
    enforce: Mapping[str, Enforcement]
    """By id of the rule."""

    @property
    def watched(self) -> FileWatch:
        """The watch on everything that may change while the gateway runs."""
        return FileWatch((self.bundle, "**/*"))


def parse_house(table: object, *, home: Path) -> HouseSettings | None:
    """Return the settings of the table `[house_rules]`; None without it. Raises `ConfigInvalid`."""
    if table is None:
        return None
    if not isinstance(table, dict):
        raise ConfigInvalid(f"key `{TABLE}` must be a table, `[{TABLE}]`")
    for key in table:
        if key not in ("bundle", "enforce"):
            raise ConfigInvalid(f"key `{TABLE}.{key}` is not known; known keys are `bundle`, `enforce`")
    bundle, enforce = table.get("bundle"), table.get("enforce", {})
    if not isinstance(bundle, str) or not bundle:
        raise ConfigInvalid(f"key `{TABLE}.bundle` must be a text: the folder of the house bundle")
    if not (home / bundle).is_dir():
        raise ConfigInvalid(f"key `{TABLE}.bundle`: no folder at `{home / bundle}`")
    if not isinstance(enforce, dict):
        raise ConfigInvalid(f"key `{TABLE}.enforce` must be a table of rules, each `stop` or `warn`")
    words = {word.value: word for word in Enforcement}
    for rule, word in enforce.items():
        if word not in words:
            raise ConfigInvalid(f"key `{TABLE}.enforce.{rule}`: expected `stop` or `warn`")
    return HouseSettings(
        bundle=(home / bundle).resolve(),
        enforce=MappingProxyType({str(rule): words[word] for rule, word in enforce.items()}),
    )


def load_house(settings: HouseSettings | None, *, agency: str) -> HouseRules | None:
    """Return the rules that the settings name; None without settings.

    Raises `ConfigInvalid`, naming file and line, unless they can be taken into force: without them the
    agency's own people would be free of its law.
    """
    if settings is None:
        return None
    try:
        bundle = HouseBundle.load(settings.bundle)
        if bundle.agency != agency:
            raise ConfigInvalid(
                f"key `{TABLE}.bundle`: the bundle is of `{bundle.agency}`, not of `{agency}`"
            )
        return HouseRules(bundle, settings.enforce)
    except PolicyError as error:
        raise ConfigInvalid(f"key `{TABLE}`: {error}") from error


def judge(
    rules: HouseRules,
    question: Question,
    claims: Claims,
    *,
    federation: Federation,
    providers: Sequence[str],
    now: datetime,
) -> Mapping[str, Judgement]:
    """Return what the house says of asking each of `providers`, at least one.

    A question of which the facts can't be told is stopped.
    """
    try:
        found = rules.judge(_facts(rules, question, claims, federation, providers, now))
    except ValueError as error:
        LOGGER.error("the house rules have no facts of a question, so it is stopped: %s", error)
        found = tuple(
            Judgement(provider=name, stops=(FAILED,), warnings=(), errors=("request",)) for name in providers
        )
    failed = sorted({name for judgement in found for name in judgement.errors})
    if failed:
        LOGGER.error("house rules failed, so a question is stopped: %s", ", ".join(failed))
    return {judgement.provider: judgement for judgement in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseSaid:
    """What the house said of one question, for the log and the caller."""

    bundle: bytes
    """Digest of the bundle, 32 bytes."""
    stopped: Mapping[str, tuple[Rule, ...]]
    """By provider that is not asked for it, the rules that stop it."""
    warnings: tuple[Rule, ...]
    """Rules that warn of asking those who are asked, once each."""

    @classmethod
    def of(cls, rules: HouseRules, judged: Mapping[str, Judgement]) -> HouseSaid:
        """Gather what was said of each provider."""
        asked = [judgement for judgement in judged.values() if not judgement.stops]
        return cls(
            bundle=rules.bundle.digest,
            stopped={name: judgement.stops for name, judgement in judged.items() if judgement.stops},
            warnings=distinct(rule for judgement in asked for rule in judgement.warnings),
        )

    def to_log(self) -> dict[str, JsonValue]:
        """Return what an entry says of it: the bundle, and ids of rules that had anything to say."""
        told: dict[str, JsonValue] = {"bundle": self.bundle.hex()}
        if self.stopped:
            told["stopped"] = {
                name: [rule.policy_id for rule in rules] for name, rules in self.stopped.items()
            }
        if self.warnings:
            told["warned"] = [rule.policy_id for rule in self.warnings]
        return told


def activated(agency: str, rules: HouseRules, at: datetime) -> Entry:
    """Return the entry of rules that are taken into force."""
    enforce: dict[str, JsonValue] = {name: word.value for name, word in rules.enforcement.items()}
    return Entry(
        kind="house_rules_activated",
        at=at,
        public={
            "agency": agency,
            "bundle": rules.bundle.digest.hex(),
            "version": rules.bundle.version,
            "enforce": enforce,
        },
    )


def distinct(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return rules once each, in the order in which they come."""
    return tuple({rule.policy_id: rule for rule in rules}.values())


def citation(rule: Rule) -> result_pb2.RuleCitation:
    """Return a rule as the caller gets it."""
    return result_pb2.RuleCitation(
        policy_id=rule.policy_id, rules=rule.rules, document=rule.document, text=rule.text
    )


def _facts(
    rules: HouseRules,
    question: Question,
    claims: Claims,
    federation: Federation,
    providers: Sequence[str],
    now: datetime,
) -> HouseQuestion:
    told = told_by(
        question.reason_text,
        plate=question.folded_plate,
        case_number=question.case_number,
        words=rules.bundle.reasons,
    )
    return HouseQuestion(
        agency=claims.agency,
        agency_kind=federation.member(claims.agency).kind,
        agency_state=federation.member(claims.agency).state,
        providers=tuple(AskedOf(agency=name, kind=federation.member(name).kind) for name in providers),
        office=claims.office,
        duty_station=claims.duty_station,
        roles=frozenset(claims.roles),
        trained_at=claims.trained_at,
        rules_accepted=claims.rules_accepted_at <= now + CLOCK_SKEW,
        good_standing=claims.good_standing,
        protections_attested=claims.protections_attested,
        reason=common_pb2.ReasonCode.Name(question.reason).removeprefix("REASON_CODE_"),
        on_behalf_of=bool(question.on_behalf_of.strip()),
        on_behalf_named=names_a_person(question.on_behalf_of),
        has_area=question.area is not None,
        period_start=to_instant(question.period, "start"),
        period_end=to_instant(question.period, "end"),
        limitation_years=question.limitation_years,
        plate_state=question.plate.state,
        plate_country=question.plate.country,
        readings=1 + len(question.readings),
        reason_vague=told.vague,
        offence=question.offence,
        border_nexus=bool(question.border_nexus.strip()),
        now=now,
    )

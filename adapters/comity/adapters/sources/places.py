"""Jurisdictions as stores write them, read into ISO 3166.

Stores write the state of a plate as `CA`, `us-ca`, `new_hampshire`, `POL` or `3`, often in one column.
What is understood becomes a code; what is not becomes unknown, never a guess and never a reason to
lose the row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

_UNITED_STATES = """
AL alabama AK alaska AZ arizona AR arkansas CA california CO colorado CT connecticut DE delaware
DC districtofcolumbia FL florida GA georgia HI hawaii ID idaho IL illinois IN indiana IA iowa KS kansas
KY kentucky LA louisiana ME maine MD maryland MA massachusetts MI michigan MN minnesota MS mississippi
MO missouri MT montana NE nebraska NV nevada NH newhampshire NJ newjersey NM newmexico NY newyork
NC northcarolina ND northdakota OH ohio OK oklahoma OR oregon PA pennsylvania RI rhodeisland
SC southcarolina SD southdakota TN tennessee TX texas UT utah VT vermont VA virginia WA washington
WV westvirginia WI wisconsin WY wyoming AS americansamoa GU guam MP northernmarianaislands
PR puertorico VI virginislands DC washingtondc
"""
_CANADA = """
AB alberta BC britishcolumbia MB manitoba NB newbrunswick NL newfoundlandandlabrador NS novascotia
NT northwestterritories NU nunavut ON ontario PE princeedwardisland QC quebec SK saskatchewan YT yukon
"""
_MEXICO = """
AGU aguascalientes BCN bajacalifornia BCS bajacaliforniasur CAM campeche CHP chiapas CHH chihuahua
CMX ciudaddemexico COA coahuila COL colima DUR durango GUA guanajuato GRO guerrero HID hidalgo
JAL jalisco MEX estadodemexico MIC michoacan MOR morelos NAY nayarit NLE nuevoleon OAX oaxaca PUE puebla
QUE queretaro ROO quintanaroo SLP sanluispotosi SIN sinaloa SON sonora TAB tabasco TAM tamaulipas
TLA tlaxcala VER veracruz YUC yucatan ZAC zacatecas
"""
_COUNTRIES = """
AD AND AE ARE AF AFG AG ATG AI AIA AL ALB AM ARM AO AGO AQ ATA AR ARG AS ASM AT AUT AU AUS AW ABW AX ALA
AZ AZE BA BIH BB BRB BD BGD BE BEL BF BFA BG BGR BH BHR BI BDI BJ BEN BL BLM BM BMU BN BRN BO BOL BQ BES
BR BRA BS BHS BT BTN BV BVT BW BWA BY BLR BZ BLZ CA CAN CC CCK CD COD CF CAF CG COG CH CHE CI CIV CK COK
CL CHL CM CMR CN CHN CO COL CR CRI CU CUB CV CPV CW CUW CX CXR CY CYP CZ CZE DE DEU DJ DJI DK DNK DM DMA
DO DOM DZ DZA EC ECU EE EST EG EGY EH ESH ER ERI ES ESP ET ETH FI FIN FJ FJI FK FLK FM FSM FO FRO FR FRA
GA GAB GB GBR GD GRD GE GEO GF GUF GG GGY GH GHA GI GIB GL GRL GM GMB GN GIN GP GLP GQ GNQ GR GRC GS SGS
GT GTM GU GUM GW GNB GY GUY HK HKG HM HMD HN HND HR HRV HT HTI HU HUN ID IDN IE IRL IL ISR IM IMN IN IND
IO IOT IQ IRQ IR IRN IS ISL IT ITA JE JEY JM JAM JO JOR JP JPN KE KEN KG KGZ KH KHM KI KIR KM COM KN KNA
KP PRK KR KOR KW KWT KY CYM KZ KAZ LA LAO LB LBN LC LCA LI LIE LK LKA LR LBR LS LSO LT LTU LU LUX LV LVA
LY LBY MA MAR MC MCO MD MDA ME MNE MF MAF MG MDG MH MHL MK MKD ML MLI MM MMR MN MNG MO MAC MP MNP MQ MTQ
MR MRT MS MSR MT MLT MU MUS MV MDV MW MWI MX MEX MY MYS MZ MOZ NA NAM NC NCL NE NER NF NFK NG NGA NI NIC
NL NLD NO NOR NP NPL NR NRU NU NIU NZ NZL OM OMN PA PAN PE PER PF PYF PG PNG PH PHL PK PAK PL POL PM SPM
PN PCN PR PRI PS PSE PT PRT PW PLW PY PRY QA QAT RE REU RO ROU RS SRB RU RUS RW RWA SA SAU SB SLB SC SYC
SD SDN SE SWE SG SGP SH SHN SI SVN SJ SJM SK SVK SL SLE SM SMR SN SEN SO SOM SR SUR SS SSD ST STP SV SLV
SX SXM SY SYR SZ SWZ TC TCA TD TCD TF ATF TG TGO TH THA TJ TJK TK TKL TL TLS TM TKM TN TUN TO TON TR TUR
TT TTO TV TUV TW TWN TZ TZA UA UKR UG UGA UM UMI US USA UY URY UZ UZB VA VAT VC VCT VE VEN VG VGB VI VIR
VN VNM VU VUT WF WLF WS WSM YE YEM YT MYT ZA ZAF ZM ZMB ZW ZWE
"""
_COUNTRY_NAMES = {"unitedstates": "US", "unitedstatesofamerica": "US", "canada": "CA", "mexico": "MX"}
_NOTHING = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown", "unk", "-", "--", "?", "??", "xx"})

STATE_NOT_UNDERSTOOD = "state is not understood: left empty"
COUNTRY_NOT_UNDERSTOOD = "country is not understood: left empty"


def _pairs(table: str) -> dict[str, str]:
    """Return name → code of a table above; the code is also a name of itself."""
    words = table.split()
    named = dict(zip(words[1::2], words[::2], strict=True))
    return {code.lower(): code for code in words[::2]} | named


_SUBDIVISIONS: Mapping[str, Mapping[str, str]] = {
    "US": _pairs(_UNITED_STATES),
    "CA": _pairs(_CANADA),
    "MX": _pairs(_MEXICO),
}
_ALPHA_2 = frozenset(_COUNTRIES.split()[::2])
_ALPHA_3 = {alpha_3: alpha_2 for alpha_2, alpha_3 in zip(*[iter(_COUNTRIES.split())] * 2, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Jurisdiction:
    """Who issued a plate, as far as it is known.

    Attributes:
        state: The part of ISO 3166-2 after the dash; empty if not known.
        country: ISO 3166-1 alpha-2; empty if not known.
        notes: What was not understood.
    """

    state: str = ""
    country: str = ""
    notes: tuple[str, ...] = ()


def is_nothing(text: str) -> bool:
    """Return whether a text is one of the ways in which stores write that they do not know."""
    return text.strip().lower() in _NOTHING


def country_code(text: str) -> str:
    """Return the alpha-2 code of a country written as alpha-2, alpha-3 or a name; empty if none."""
    upper = text.strip().upper()
    if upper in _ALPHA_2:
        return upper
    return _ALPHA_3.get(upper) or _COUNTRY_NAMES.get(_letters(text), "")


def read_jurisdiction(
    *, state: str, country: str, default_country: str, state_codes: Mapping[str, str]
) -> Jurisdiction:
    """Return the jurisdiction that a row's state and country mean.

    The agency's own codes come first (`state_codes`, for example `3` → `US-CA`); then a code that
    names its country (`us-ca`); then a code or name of a state of the row's country; then, where
    the row has no country of its own, a country that stands in the state's column (`POL`, `gb`).
    """
    notes: tuple[str, ...] = ()
    known_country = "" if is_nothing(country) else country_code(country)
    if not known_country and not is_nothing(country):
        notes = (COUNTRY_NOT_UNDERSTOOD,)
    state = state_codes.get(state.strip().lower(), state)
    if is_nothing(state):
        return Jurisdiction(country=known_country or ("" if notes else default_country), notes=notes)
    qualified = re.fullmatch(r"([A-Za-z]{2})[-_]([A-Za-z0-9]{1,3})", state.strip())
    if qualified and qualified[1].upper() in _ALPHA_2:
        prefix = qualified[1].upper()
        code = state_code(qualified[2], prefix)
        return Jurisdiction(
            state=code, country=prefix, notes=notes if code else (*notes, STATE_NOT_UNDERSTOOD)
        )
    presumed = known_country or ("" if notes else default_country)
    code = state_code(state, presumed)
    if code:
        return Jurisdiction(state=code, country=presumed, notes=notes)
    if not known_country and country_code(state):
        return Jurisdiction(country=country_code(state), notes=notes)
    return Jurisdiction(country=presumed, notes=(*notes, STATE_NOT_UNDERSTOOD))


def state_code(text: str, country: str) -> str:
    """Return the code of a state of a country; empty if the country has no such state.

    States of the United States, Canada and Mexico are known by code and name; elsewhere, and where
    the country is not known, a short code is taken as it stands.
    """
    subdivisions = _SUBDIVISIONS.get(country)
    if subdivisions is not None:
        return subdivisions.get(_letters(text), "")
    return text.strip().upper() if re.fullmatch("[A-Za-z][A-Za-z0-9]{0,2}", text.strip()) else ""


def _letters(text: str) -> str:
    """Return a name without case, accents, blanks, underscores and the like."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if c.isalnum())

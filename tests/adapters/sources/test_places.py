"""States as stores write them."""

import pytest

from comity.adapters.sources.places import STATE_NOT_UNDERSTOOD, country_code, read_jurisdiction


@pytest.mark.parametrize(
    ("state", "country", "expected"),
    [
        ("CA", "", ("CA", "US")),
        ("ca", "US", ("CA", "US")),
        ("california", "", ("CA", "US")),
        ("new_hampshire", "", ("NH", "US")),
        ("New Hampshire", "USA", ("NH", "US")),
        ("washington_dc", "", ("DC", "US")),
        ("us-ca", "", ("CA", "US")),
        ("us-ca", "US", ("CA", "US")),
        ("mx-bcn", "", ("BCN", "MX")),
        ("Baja California", "Mexico", ("BCN", "MX")),
        ("Michoacán", "MEX", ("MIC", "MX")),
        ("BC", "CA", ("BC", "CA")),
        ("POL", "", ("", "PL")),
        ("gb", "", ("", "GB")),
        ("BY", "DE", ("BY", "DE")),
        ("", "", ("", "US")),
        ("NA", "", ("", "US")),
        ("unknown", "", ("", "US")),
    ],
)
def test_states_as_stores_write_them(state: str, country: str, expected: tuple[str, str]) -> None:
    """Codes, names, qualified codes and a country in the state's column become ISO 3166."""
    found = read_jurisdiction(state=state, country=country, default_country="US", state_codes={})
    assert (found.state, found.country) == expected
    assert not found.notes


@pytest.mark.parametrize("state", ["3", "us-zz", "ZZZ", "-", "42"])
def test_state_that_means_nothing_is_unknown_not_guessed(state: str) -> None:
    """A code that nobody explained leaves the state empty, so that the read is not lost."""
    found = read_jurisdiction(state=state, country="", default_country="US", state_codes={})
    assert found.state == ""
    assert found.notes == ((STATE_NOT_UNDERSTOOD,) if state != "-" else ())


def test_agency_explains_its_own_codes() -> None:
    """What the mapping says of `3` is what `3` means."""
    found = read_jurisdiction(state="3", country="", default_country="US", state_codes={"3": "US-NV"})
    assert (found.state, found.country) == ("NV", "US")


def test_colombia_is_no_colorado_where_the_row_names_its_country() -> None:
    """A country in the state's column counts only where the row has no country of its own."""
    found = read_jurisdiction(state="COL", country="US", default_country="US", state_codes={})
    assert (found.state, found.country) == ("", "US")


def test_country_by_code_or_name() -> None:
    """Alpha-2, alpha-3 and the names of North America are understood; anything else is none."""
    assert [country_code(text) for text in ("us", "MEX", "Canada", "Atlantis")] == ["US", "MX", "CA", ""]

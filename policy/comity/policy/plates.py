"""What counts as the same plate number.

The requester's end and the provider's end must agree on it, or a hit is missed or one too many is
given (Q6); so both fold by this one function. Folding is for matching alone: what a person is shown
is always the number as the reader saw it.

Folding forgets how a number is written, never what it says: `O` and `0` stay two characters (a query
for several likely readings is another thing, and off by default: Q10).
"""

from __future__ import annotations

import unicodedata

from comity.policy.errors import PolicyError

MAX_PLATE_CHARACTERS = 16
"""The longest plate number, as written and as folded, in characters."""

_WRITTEN_ALIKE = dict.fromkeys(b"\t\n\v\f\r !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


class PlateInvalid(PolicyError):
    """A text is no plate number; the message never holds the text."""


def fold(number: str) -> str:
    """Return the form of a plate number that is compared: upper case, letters and digits alone.

    The number is normalised (Unicode NFKC, so full-width forms are plain ones), put into upper
    case, and loses everything that is neither letter, digit nor combining mark: blanks, dashes,
    dots, hearts and stars. `8abc-123`, `8 ABC 123` and `8ABC123` fold to `8ABC123`.

    Raises:
        PlateInvalid: It is longer than 16 characters (outer blanks aside, or once folded), holds a
            control character, or has no letter or digit.
    """
    written = number.strip()
    if len(written) > MAX_PLATE_CHARACTERS:
        raise PlateInvalid(f"plate number is longer than {MAX_PLATE_CHARACTERS} characters")
    if written.isascii():
        folded = written.translate(_WRITTEN_ALIKE).upper()
        if folded and not folded.isalnum():
            raise PlateInvalid("plate number holds a control character")
    else:
        folded = _fold_unicode(written)
    if not folded:
        raise PlateInvalid("plate number has no letter or digit")
    if len(folded) > MAX_PLATE_CHARACTERS:
        raise PlateInvalid(f"plate number is longer than {MAX_PLATE_CHARACTERS} characters")
    return folded


def _fold_unicode(written: str) -> str:
    """Fold a text that is not plain ASCII; the result folds to itself."""
    if "\ufffd" in written:
        raise PlateInvalid("plate number holds a character that could not be read")
    kept = []
    for character in unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", written).upper()):
        category = unicodedata.category(character)
        if category[0] in "LNM":
            kept.append(character)
        elif category in ("Cc", "Cs", "Co", "Cn") and not character.isspace():
            raise PlateInvalid("plate number holds a control character")
    folded = unicodedata.normalize("NFKC", "".join(kept))
    return folded if any(character.isalnum() for character in folded) else ""

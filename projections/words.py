"""What a word is, for finding notes: the same rule for texts and for what people look for.

A word is a run of letters and digits, without case and without accents. Texts are cut into words here and handed to
FTS5 as words between spaces, with its ``ascii`` tokenizer, which cuts at nothing else; so no input can mean anything in
FTS5's own query language, and both sides always agree.
"""

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")
# The same rule for ASCII alone, which costs two thirds.
_ASCII_BLANKS = str.maketrans({code: " " for code in range(128) if not chr(code).isalnum()})


def words(text: str) -> list[str]:
    """The words of a text, in their order."""
    if text.isascii():
        return text.lower().translate(_ASCII_BLANKS).split()
    # Folded after too: what is compatible with a capital letter has no case of its own (Unicode, D146).
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return _WORD.findall("".join(character for character in plain if not unicodedata.combining(character)))


def expression(wanted: str) -> str:
    """The FTS5 expression for all words of a query, the last one as a prefix; empty when it has no word."""
    found = words(wanted)
    return " AND ".join(f'"{word}"' for word in found) + "*" if found else ""


def matches(text: str, wanted: str) -> bool:
    """Whether a text has all words of a query, the last one as a prefix: what ``expression`` finds, said in Python."""
    *whole, prefix = words(wanted) or [""]
    have = words(text)
    return set(whole) <= set(have) and any(word.startswith(prefix) for word in have)
